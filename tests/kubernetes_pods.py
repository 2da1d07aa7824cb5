"""What the Dask operator and a kubelet make of a `DaskCluster`: real schedulers and workers, as processes.

The operator's part is its own code, which builds the Deployments and the Service. A pod is its container's process.
Instead of a network of its own it has a loopback address, instead of volumes folders: where they stand in its command
and environment they are rewritten.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from dask_kubernetes.operator.controller.controller import (
    build_scheduler_deployment_spec,
    build_scheduler_service_spec,
    build_worker_deployment_spec,
)
from kubernetes_schemas import check_resource

#: Loopback addresses of pods, each used once.
_ADDRESSES = (f"127.77.{n // 200}.{n % 200 + 10}" for n in itertools.count(os.getpid() % 40_000))

#: How often a kubelet looks after its pod, in seconds.
_LOOK_EVERY_S = 0.1


class Cluster:
    """Service and pods of one `DaskCluster`.

    Parameters
    ----------
    resource : as it was posted
    images : that can be pulled, with the environment that each sets
    secrets : by name, the pairs of each
    folder : for the pods' logs and volumes
    """

    def __init__(
        self,
        resource: dict[str, Any],
        images: dict[str, dict[str, str]],
        secrets: dict[str, dict[str, str]],
        folder: Path,
    ) -> None:
        name, namespace = resource["metadata"]["name"], resource["metadata"]["namespace"]
        scheduler, worker = resource["spec"]["scheduler"], resource["spec"]["worker"]
        address = next(_ADDRESSES)
        labels, annotations = resource["metadata"].get("labels", {}), resource["metadata"].get("annotations", {})
        self.service = build_scheduler_service_spec(name, scheduler["service"], annotations, labels)
        deployments = [build_scheduler_deployment_spec(name, scheduler["spec"], annotations, labels)]
        deployments += [
            build_worker_deployment_spec(
                f"{name}-default", namespace, name, uuid.uuid4().hex[:10], worker["spec"], annotations, labels
            )
            for _ in range(worker["replicas"])
        ]
        for made in (self.service, *deployments):
            check_resource(made)
        self.service["spec"]["clusterIP"] = address
        world = World(images, secrets, folder, {f"{name}-scheduler.{namespace}": address})
        self.pods = [
            Pod(d, namespace, address if d is deployments[0] else next(_ADDRESSES), world) for d in deployments
        ]

    def stop(self) -> None:
        """End all pods."""
        for pod in self.pods:
            pod.ending.set()
        for pod in self.pods:
            pod.stop()


class World:
    """What pods find: images, secrets, names, a disk."""

    def __init__(
        self, images: dict[str, dict[str, str]], secrets: dict[str, dict[str, str]], folder: Path, names: dict[str, str]
    ) -> None:
        self.images = images
        self.secrets = secrets
        self.folder = folder
        self.names = names


class Pod:
    """A pod of a deployment and the kubelet's loop that keeps its container running."""

    def __init__(self, deployment: dict[str, Any], namespace: str, address: str, world: World) -> None:
        template = deployment["spec"]["template"]
        self.resource: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "namespace": namespace, "uid": str(uuid.uuid4())},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self._address = address
        self._world = world
        self._folder = Path(tempfile.mkdtemp(prefix="pod-", dir=world.folder))
        self.log = self._folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.n_starts = 0
        self.ending = threading.Event()
        self._kubelet = threading.Thread(target=self._keep_running, name=template["metadata"]["name"], daemon=True)
        self._kubelet.start()

    @property
    def component(self) -> str:
        """``scheduler`` or ``worker``."""
        return self.resource["metadata"]["labels"]["dask.org/component"]

    def stop(self) -> None:
        """End the pod; returns when nothing of it is left."""
        self.ending.set()
        self._kubelet.join()
        for volume in self._folder.glob("volume-*"):
            shutil.rmtree(volume)

    def _keep_running(self) -> None:
        container = self.resource["spec"]["containers"][0]
        if (problem := self._problem(container)) is not None:
            self._set_status("Pending", waiting=problem)
            return
        while not self.ending.is_set():
            self._start(container)
            while self.process.poll() is None and not self.ending.wait(_LOOK_EVERY_S):
                self._set_status("Running", ready=self._probe(container))
            self._set_status("Running", waiting=("CrashLoopBackOff", "back-off restarting the container"))
            self._end_process()

    def _end_process(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # as the container's end ends all that is in it
        self.process.wait()

    def _problem(self, container: dict[str, Any]) -> tuple[str, str] | None:
        if container["image"] not in self._world.images:
            return "ImagePullBackOff", f'Back-off pulling image "{container["image"]}"'
        try:
            self._environment(container)
        except KeyError as error:
            return "CreateContainerConfigError", f"secret {error} not found"
        return None

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        env = dict(self._world.images[container["image"]])
        for item in container.get("envFrom", ()):
            env |= self._world.secrets[item["secretRef"]["name"]]
        for item in container["env"]:
            if "value" in item:
                env[item["name"]] = item["value"]
            else:
                key = item["valueFrom"]["secretKeyRef"]
                env[item["name"]] = self._world.secrets[key["name"]][key["key"]]
        return env

    def _start(self, container: dict[str, Any]) -> None:
        env = {name: self._here(value) for name, value in self._environment(container).items()}
        command = [re.sub(r"\$\((\w+)\)", lambda m: env[m[1]], self._here(word)) for word in container["command"]]
        # a pod's process binds to its own network; here that is an address
        command += ["--host", self._address]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=env | {"PATH": path, "HOME": str(self._folder)},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.n_starts += 1

    def _here(self, text: str) -> str:
        """What a name, an address or a path inside the pod is on this machine."""
        for name, address in self._world.names.items():
            text = re.sub(rf"{re.escape(name)}\.svc(\.cluster\.local)?", address, text)
        container = self.resource["spec"]["containers"][0]
        volumes = {volume["name"]: volume for volume in self.resource["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            if "emptyDir" in volumes[mount["name"]] and re.match(rf"{mount['mountPath']}(/|$)", text):
                place = self._folder / f"volume-{mount['name']}"
                place.mkdir(exist_ok=True)
                text = str(place) + text.removeprefix(mount["mountPath"])
        return re.sub(r"^:(\d+)$", rf"{self._address}:\1", text)

    def _probe(self, container: dict[str, Any]) -> bool:
        if "readinessProbe" not in container:
            return True
        get = container["readinessProbe"]["httpGet"]
        (port,) = (port["containerPort"] for port in container["ports"] if port["name"] == get["port"])
        try:
            with urllib.request.urlopen(f"http://{self._address}:{port}{get['path']}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _set_status(self, phase: str, *, ready: bool = False, waiting: tuple[str, str] | None = None) -> None:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}} if waiting else {"running": {}}
        self.resource["status"] = {
            "phase": phase,
            "podIP": self._address,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"ready": ready, "state": state}],
        }
