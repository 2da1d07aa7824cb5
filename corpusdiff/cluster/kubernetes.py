"""Dask workers as pods of Kubernetes, made by the Dask operator: their scheduler is a pod too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from distributed import Client

from corpusdiff.cluster.kubernetes_api import Api, Driver
from corpusdiff.cluster.kubernetes_spec import COMM_PORT, DRIVER, Pattern, cluster_resource
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.runner import Notify, StopFlag

#: How often to look at what Kubernetes does, and to say what it waits for, in seconds.
_LOOK_EVERY_S = 1.0
_SAY_EVERY_S = 60.0

#: How long the operator may take to see our resource, in seconds.
_OPERATOR_S = 60.0

#: How long an image may fail to be pulled, or a scheduler to stay up; registries have moments of weakness.
_FAILING_S = 60.0

#: How long the scheduler's pod may take; nodes that are added for it take minutes, in seconds.
_START_S = 1800.0

#: How long a scheduler that is up may take to answer, in seconds.
_ANSWER_S = 60

#: What a container waits for that waiting alone does not bring, and what may pass.
_HOPELESS = {"CreateContainerConfigError", "ErrImageNeverPull", "InvalidImageName"}
_FAILING = {"CrashLoopBackOff", "CreateContainerError", "ErrImagePull", "ImagePullBackOff", "RunContainerError"}


class KubernetesCluster:
    """Clients of a scheduler and a fixed number of workers in pods, which end with the last of them.

    The pods are like the driver's own, if it is in one: image, environment, volumes, secrets, kind of node.

    Parameters
    ----------
    options : of which number and memory of workers, namespace, image, spool and certificates concern it
    notify : takes notices for the user

    Raises UsageError without access to a Kubernetes API, without an image or a number of workers.
    """

    #: Kubernetes starts lost workers again, on new nodes if need be: without any for so long, it cannot.
    wait_workers_s = 1800.0

    def __init__(self, options: ClusterOptions, notify: Notify) -> None:
        self._options = options
        self._notify = notify
        self._name: str | None = None
        self._client: Client | None = None
        self._api = Api(options.namespace)
        self._driver = Driver.of_this_process(self._api)
        self._pattern = _pattern(self._driver, options.image)

    def open(self) -> Client:
        """A client of a new cluster; the one before, and those of drivers that are gone, are removed.

        Raises UsageError for what the user must mend: rights, the operator, the image; CorpusdiffError where the
        scheduler does not start or answer; Interrupted by a signal while its pod is awaited.
        """
        with StopFlag().on_signals(drain=False):  # nothing runs yet that a first signal should let finish
            self._end()
            self._remove_left_behind()
            self._name = name = f"corpusdiff-{uuid4().hex[:10]}"
            owner, identity = self._driver.owner, self._driver.identity
            self._api.create_cluster(
                cluster_resource(name, self._api.namespace, self._pattern, self._options, identity, owner)
            )
            address = self._await_scheduler(name)
        self._client = self._connected(address)
        self._notify(
            f"{self._options.workers} workers of {self._pattern.image} asked for, DaskCluster {name} in namespace "
            f"{self._api.namespace}; its dashboard: kubectl port-forward -n {self._api.namespace} "
            f"service/{name}-scheduler 8787"
        )
        return self._client

    def close(self, *, kill: bool) -> None:
        """Remove scheduler and workers, whatever they do."""
        del kill  # a pod gets its grace period either way, and what it commits in it counts
        try:
            self._end()
        except CorpusdiffError as error:
            self._notify(f"{error}. Then remove it: kubectl delete -n {self._api.namespace} daskcluster {self._name}")
        self._api.close()

    def _end(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._name is not None:
            self._api.delete_cluster(self._name)
            self._name = None

    def _remove_left_behind(self) -> None:
        """Clusters whose driver was killed. The operator would do it, after an hour."""
        for resource in self._api.our_clusters():
            metadata = resource["metadata"]
            driver = metadata.get("annotations", {}).get(DRIVER, "")
            if "deletionTimestamp" not in metadata and self._driver.is_gone(driver, self._api):
                self._notify(f"removing DaskCluster {metadata['name']}, whose driver {driver} is gone")
                self._api.delete_cluster(metadata["name"])

    def _await_scheduler(self, name: str) -> str:
        """Host and port of the scheduler's service, when its pod is ready."""
        start = time.monotonic()
        say_at, failing_since = start + _SAY_EVERY_S, float("inf")
        while True:
            pods = self._api.scheduler_pods(name)
            if any(_is_ready(pod) for pod in pods):
                return self._api.service_ip(f"{name}-scheduler")
            now = time.monotonic()
            reason, message = _trouble(pods)
            failing_since = min(failing_since, now) if reason in _FAILING else float("inf")
            if reason in _HOPELESS or now - failing_since > _FAILING_S:
                raise UsageError(f"{reason} in namespace {self._api.namespace}: {message}. {_REMEDY}")
            if not pods and now - start > _OPERATOR_S:
                self._blame_operator(name)
            if now - start > _START_S:
                raise CorpusdiffError(f"the scheduler's pod did not start in {_START_S:.0f} s: {message}")
            if now > say_at:
                say_at = now + _SAY_EVERY_S
                self._notify(f"waiting for the pod of the scheduler: {message}")
            time.sleep(_LOOK_EVERY_S)

    def _blame_operator(self, name: str) -> None:
        phase = self._api.cluster(name).get("status", {}).get("phase")
        raise UsageError(
            f"nothing came of DaskCluster {name} in {_OPERATOR_S:.0f} s (phase {phase}): is the Dask operator running, "
            f"and does it watch namespace {self._api.namespace}? See deploy/kubernetes/README.md, and its log: "
            "kubectl logs -n dask-operator -l app.kubernetes.io/name=dask-kubernetes-operator"
        )

    def _connected(self, host: str) -> Client:
        security = None
        if self._options.tls is not None:
            from corpusdiff.cluster.tls import security as read_security

            security = read_security(self._options.tls)
        address = f"{'tls' if security else 'tcp'}://{f'[{host}]' if ':' in host else host}:{COMM_PORT}"
        try:
            return Client(address, timeout=_ANSWER_S, set_as_default=False, security=security)
        except (OSError, ValueError) as error:
            raise CorpusdiffError(
                f"the scheduler's pod is ready, but does not answer at {address} ({error}): run the driver inside the "
                "cluster, as deploy/kubernetes/driver.yaml does, and let network policies pass ports 8786 and 8787"
            ) from error


#: What helps against most of what a pod can wait for.
_REMEDY = (
    "Look with `kubectl describe pods`; the image must exist, hold corpusdiff, and be readable from the nodes "
    "(--image, imagePullSecrets), and what the driver's pod mounts must be there"
)


def _pattern(driver: Driver, image: str | None) -> Pattern:
    if driver.pod is not None:
        return Pattern.of_pod(driver.pod, image)
    if image is None:
        raise UsageError(
            "--cluster kubernetes: say what the workers are made of, --image NAME; it must hold corpusdiff"
        )
    return Pattern(image)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _trouble(pods: list[dict[str, Any]]) -> tuple[str, str]:
    """Why pods do not start, as Kubernetes calls it and in a sentence; the worst first."""
    found = [trouble for pod in pods for trouble in _troubles(pod["metadata"]["name"], pod.get("status", {}))]
    found.sort(key=lambda item: (item[0] not in _HOPELESS, item[0] not in _FAILING))
    return found[0] if found else ("", "it is there, and not ready yet" if pods else "there is none yet")


def _troubles(name: str, status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            yield waiting["reason"], f"pod {name}: {waiting.get('message') or waiting['reason']}"
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "Unschedulable":
            yield "Unschedulable", f"pod {name}: no node for it, {condition.get('message')}"
