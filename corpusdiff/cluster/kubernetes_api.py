"""The few calls to a Kubernetes API that a run makes, with errors that say what to do; and who the driver is to it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from corpusdiff.cluster.kubernetes_spec import GROUP, MADE_BY_US, PLURAL, VERSION
from corpusdiff.errors import CorpusdiffError, UsageError

try:
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry
except ImportError as missing:
    raise UsageError(
        "--cluster kubernetes needs the Kubernetes client: pip install 'corpusdiff[kubernetes]'"
    ) from missing

#: Longest waits for a connection to the API and for its answer, in seconds.
_TIMEOUT_S = (10, 60)

#: What Kubernetes puts into every pod.
_CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")


#: An API server has moments of weakness, while it is replaced say; with pauses of 0, 1 and 2 s.
_RETRY = Retry(
    total=3, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None, raise_on_status=False
)


class Api:
    """One namespace of a cluster, with the rights of the pod this runs in, or of the user's kubeconfig.

    Parameters
    ----------
    namespace : None for the pod's own, or the one that the kubeconfig names

    Raises UsageError without credentials. Every method raises it when the API refuses, and CorpusdiffError when it
    does not answer: then the same command may have more luck later.
    """

    def __init__(self, namespace: str | None) -> None:
        settings = client.Configuration()
        self.in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and (_CREDENTIALS / "token").exists()
        try:
            if self.in_pod:
                config.load_incluster_config(client_configuration=settings)
                own = (_CREDENTIALS / "namespace").read_text().strip()
            else:
                file = os.environ.get("KUBECONFIG")
                config.load_kube_config(config_file=file, client_configuration=settings)
                own = config.list_kube_config_contexts(file)[1]["context"].get("namespace", "default")
        except (config.ConfigException, OSError) as error:
            raise UsageError(
                f"no way to a Kubernetes API ({error}): run in a pod whose service account may use it, as "
                "deploy/kubernetes/driver.yaml does, or have a kubeconfig (KUBECONFIG, ~/.kube/config)"
            ) from error
        self.namespace = namespace or own
        self._host = settings.host
        settings.retries = _RETRY
        self._client = client.ApiClient(settings)
        self._core = client.CoreV1Api(self._client)
        self._custom = client.CustomObjectsApi(self._client)
        self._where = {"group": GROUP, "version": VERSION, "plural": PLURAL, "namespace": self.namespace}
        # the answers as they are: the client's own models refuse what a newer Kubernetes adds
        self._where_core = {"namespace": self.namespace, "_request_timeout": _TIMEOUT_S, "_preload_content": False}

    def create_cluster(self, resource: dict[str, Any]) -> None:
        """Ask the operator for a cluster."""
        with self._explained("create daskclusters"):
            try:
                self._custom.create_namespaced_custom_object(
                    **self._where, body=resource, field_validation="Strict", _request_timeout=_TIMEOUT_S
                )
            except ApiException as error:
                if error.status != 409:  # the answer to an earlier try was lost: nobody else has such names
                    raise

    def cluster(self, name: str) -> dict[str, Any]:
        """The resource as it is now."""
        with self._explained("get daskclusters"):
            found: dict[str, Any] = self._custom.get_namespaced_custom_object(
                **self._where, name=name, _request_timeout=_TIMEOUT_S
            )
        return found

    def our_clusters(self) -> list[dict[str, Any]]:
        """Resources that runs of ours made."""
        labels = ",".join(f"{key}={value}" for key, value in MADE_BY_US.items())
        with self._explained("list daskclusters"):
            found: list[dict[str, Any]] = self._custom.list_namespaced_custom_object(
                **self._where, label_selector=labels, _request_timeout=_TIMEOUT_S
            )["items"]
        return found

    def delete_cluster(self, name: str) -> None:
        """Remove a cluster, and with it all that the operator made of it; one that is gone already is no error."""
        with self._explained("delete daskclusters"):
            try:
                self._custom.delete_namespaced_custom_object(**self._where, name=name, _request_timeout=_TIMEOUT_S)
            except ApiException as error:
                if error.status != 404:
                    raise

    def scheduler_pods(self, cluster: str) -> list[dict[str, Any]]:
        """The pod of a cluster's scheduler; none yet, or for a moment two."""
        labels = f"dask.org/cluster-name={cluster},dask.org/component=scheduler"
        with self._explained("list pods"):
            return list(_parsed(self._core.list_namespaced_pod(**self._where_core, label_selector=labels))["items"])

    def pod(self, name: str) -> dict[str, Any] | None:
        """A pod, None if there is none of that name."""
        with self._explained("get pods"):
            try:
                return _parsed(self._core.read_namespaced_pod(name, **self._where_core))
            except ApiException as error:
                if error.status == 404:
                    return None
                raise

    def service_ip(self, name: str) -> str:
        """Address of a service inside the cluster: names need a DNS, and the driver's pod may have another."""
        with self._explained("get services"):
            return str(_parsed(self._core.read_namespaced_service(name, **self._where_core))["spec"]["clusterIP"])

    def close(self) -> None:
        """Give up the connections."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            if error.status == 429 or error.status >= 500:
                raise self._no_answer(f"{error.status} {_message(error)}") from error
            raise UsageError(self._refusal(doing, error)) from error
        except (HTTPError, OSError) as error:
            raise self._no_answer(str(error)) from error

    def _no_answer(self, what: str) -> CorpusdiffError:
        return CorpusdiffError(
            f"the Kubernetes API at {self._host} does not answer ({what}): is this the right cluster "
            "(kubectl config current-context), and does `kubectl get pods` work from here?"
        )

    def _refusal(self, doing: str, error: ApiException) -> str:
        if error.status == 401:
            return f"the Kubernetes API at {self._host} does not know who this is: renew the credentials of kubeconfig"
        if error.status == 403:
            return (
                f"may not {doing} in namespace {self.namespace} ({_message(error)}): give the service account or user "
                "the rights of deploy/kubernetes/access.yaml"
            )
        if error.status == 404 and "daskclusters" in doing:
            return (
                f"this Kubernetes knows no DaskCluster, or no namespace {self.namespace} ({_message(error)}): install "
                "the Dask operator, see deploy/kubernetes/README.md, and make the namespace"
            )
        return f"Kubernetes refuses to {doing} in namespace {self.namespace} ({error.status}): {_message(error)}"


def _parsed(answer: Any) -> dict[str, Any]:
    """The JSON of an answer that the client did not turn into its own models."""
    found: dict[str, Any] = json.loads(answer.data)
    return found


def _message(error: ApiException) -> str:
    """What the API said, without the headers."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@dataclass(frozen=True)
class Driver:
    """Who asks for workers.

    Parameters
    ----------
    identity : ``pod/NAME/UID/PID/START``, or ``host/NAME/PID/START`` of a process outside
    pod : the pod it runs in, as the API gives it; None outside
    """

    identity: str
    pod: dict[str, Any] | None = None

    @classmethod
    def of_this_process(cls, api: Api) -> Driver:
        """Who this process is. Raises UsageError in a pod that the API does not find."""
        process = f"{os.getpid()}/{psutil.Process().create_time()}"
        if not api.in_pod:
            return cls(f"host/{socket.gethostname()}/{process}")
        name = os.environ.get("CORPUSDIFF_POD", socket.gethostname())
        pod = api.pod(name)
        if pod is None:
            raise UsageError(
                f"this runs in a pod, but namespace {api.namespace} has none named {name}: give its name in the "
                "environment variable CORPUSDIFF_POD, and no --namespace but its own"
            )
        return cls(f"pod/{name}/{pod['metadata']['uid']}/{process}", pod)

    @property
    def owner(self) -> dict[str, Any] | None:
        """Reference to the driver's pod, None outside."""
        if self.pod is None:
            return None
        metadata = self.pod["metadata"]
        return {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}

    def is_gone(self, identity: str, api: Api) -> bool:
        """Whether another driver surely works no more."""
        kind, _, rest = identity.partition("/")
        name, _, process = rest.partition("/")
        if kind != "pod":
            return kind == "host" and name == socket.gethostname() and not _is_alive(process)
        uid, _, process = process.partition("/")
        if self.pod is not None and uid == self.pod["metadata"]["uid"]:
            return not _is_alive(process)  # the container was started again in its pod
        pod = api.pod(name)
        return pod is None or pod["metadata"]["uid"] != uid or pod["status"]["phase"] in {"Succeeded", "Failed"}


def _is_alive(process: str) -> bool:
    """Whether ``PID/START`` is a process of this host."""
    pid, _, start = process.partition("/")
    try:
        return str(psutil.Process(int(pid)).create_time()) == start
    except (psutil.Error, ValueError):
        return False
