"""The Dask operator's resource for a run's scheduler and workers: plain data from plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from dask.utils import parse_bytes

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.settings import ONE_THREAD, SETTINGS
from corpusdiff.errors import UsageError

#: Group, version and plural of the operator's resource.
GROUP, VERSION, PLURAL = "kubernetes.dask.org", "v1", "daskclusters"

#: The label of all that we make, and the annotation with the driver that made it.
MADE_BY_US = {"app.kubernetes.io/managed-by": "corpusdiff"}
DRIVER = "corpusdiff/driver"

#: Ports of the scheduler; the operator asks the second one whether it is idle.
COMM_PORT, HTTP_PORT = 8786, 8787

#: The operator removes a cluster that does nothing for so long, whose driver must be gone, in seconds.
IDLE_TIMEOUT_S = 3600

#: The workers' folder for temporary files, a volume of the pod.
SPOOL = "/spool"

#: What a worker asks for when the user does not say; deploy/README.md has the arithmetic.
WORKER_MEMORY = "2GiB"
SCHEDULER_MEMORY = "1GiB"

#: What the strictest of Kubernetes' own policies demands, unless the driver's pod says otherwise.
POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

#: Fields of the driver's pod and of its container that its scheduler and workers share.
_OF_POD = (
    "affinity", "hostAliases", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName",
    "securityContext", "serviceAccountName", "tolerations",
)  # fmt: skip
_OF_CONTAINER = ("imagePullPolicy", "securityContext")

#: Where Kubernetes mounts the credentials for its API, which no worker needs.
_API_CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"

#: The driver's own variables: its pod's name, and what the operator sets.
_DRIVERS_OWN = {"CORPUSDIFF_POD", "DASK_SCHEDULER_ADDRESS", "DASK_WORKER_NAME"}


@dataclass(frozen=True)
class Pattern:
    """What scheduler and workers have in common with the driver's pod; of a driver elsewhere, the image alone.

    Parameters
    ----------
    image : container image
    pod, container : further fields of the pods and of their one container
    env, env_from : environment, as a container has it
    volumes, mounts : volumes of the pod, and where the container sees them
    """

    image: str
    pod: Mapping[str, Any] = field(default_factory=lambda: {"securityContext": POD_SECURITY})
    container: Mapping[str, Any] = field(default_factory=lambda: {"securityContext": CONTAINER_SECURITY})
    env: tuple[Mapping[str, Any], ...] = ()
    env_from: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of_pod(cls, pod: Mapping[str, Any], image: str | None) -> Pattern:
        """From the driver's pod, as the API gives it: workers see the same volumes, secrets and nodes.

        `image` replaces the pod's own; the driver is the container of that name, or else the first.
        """
        spec = pod["spec"]
        container = next((item for item in spec["containers"] if item["name"] == "driver"), spec["containers"][0])
        mounts = tuple(item for item in container.get("volumeMounts", ()) if item["mountPath"] != _API_CREDENTIALS)
        seen = {mount["name"] for mount in mounts}
        return cls(
            image=image or container["image"],
            pod={name: spec[name] for name in _OF_POD if spec.get(name)},
            container={name: container[name] for name in _OF_CONTAINER if container.get(name)},
            env=tuple(item for item in container.get("env", ()) if item["name"] not in _DRIVERS_OWN),
            env_from=tuple(container.get("envFrom", ())),
            volumes=tuple(volume for volume in spec.get("volumes", ()) if volume["name"] in seen),
            mounts=mounts,
        )


def cluster_resource(
    name: str, namespace: str, pattern: Pattern, options: ClusterOptions, driver: str, owner: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The `DaskCluster` that the operator turns into a scheduler, its service, and one pod for each worker.

    Parameters
    ----------
    name, namespace : of the resource
    pattern : what all pods have in common
    options : of which number and memory of workers, spool and certificates concern it
    driver : who asks for it, kept as an annotation
    owner : reference to the driver's pod, with which Kubernetes collects the cluster; None for a driver elsewhere

    Raises UsageError without a number of workers, for a memory size that is none, for certificates out of sight.
    """
    if options.workers is None:
        raise UsageError("--cluster kubernetes: say how many workers, --workers N")
    if options.tls is not None and not any(_is_in(options.tls, mount["mountPath"]) for mount in pattern.mounts):
        raise UsageError(
            f"--tls {options.tls}: the workers would not see it. Mount a secret with ca.pem, cert.pem and key.pem into "
            "the driver's pod, whose volumes they share, and give that folder"
        )
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DaskCluster",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": MADE_BY_US,
            "annotations": {DRIVER: driver},
            **({"ownerReferences": [owner]} if owner else {}),
        },
        "spec": {
            "idleTimeout": IDLE_TIMEOUT_S,
            "scheduler": {"spec": _scheduler_pod(pattern, options), "service": _service(name)},
            "worker": {"replicas": options.workers, "spec": _worker_pod(name, namespace, pattern, options)},
        },
    }


def dask_environment() -> dict[str, str]:
    """`settings.SETTINGS` as Dask reads them from the environment.

    >>> dask_environment()["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"]
    '120s'
    """
    return {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in SETTINGS.items()}


def _scheduler_pod(pattern: Pattern, options: ClusterOptions) -> dict[str, Any]:
    health = {"httpGet": {"path": "/health", "port": "http-dashboard"}}
    container = _container(pattern, "scheduler", SCHEDULER_MEMORY, dask_environment()) | {
        "command": [
            "dask",
            "scheduler",
            "--port",
            str(COMM_PORT),
            "--dashboard-address",
            f":{HTTP_PORT}",
            *_tls(options),
        ],
        "ports": [
            {"name": "tcp-comm", "containerPort": COMM_PORT, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": HTTP_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": health | {"periodSeconds": 1, "timeoutSeconds": 60, "failureThreshold": 3},
        "livenessProbe": health | {"initialDelaySeconds": 60, "periodSeconds": 20, "timeoutSeconds": 60},
    }
    return _pod(pattern, container, ())


def _worker_pod(name: str, namespace: str, pattern: Pattern, options: ClusterOptions) -> dict[str, Any]:
    spool = options.spool or SPOOL
    env = dask_environment() | ONE_THREAD | {"TMPDIR": spool}
    if options.tls:  # else the operator says where the scheduler is, without encryption
        env["DASK_SCHEDULER_ADDRESS"] = f"tls://{name}-scheduler.{namespace}.svc:{COMM_PORT}"
    args = ["dask", "worker", "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--memory-limit", "0"]
    args += ["--local-directory", spool, "--name", "$(DASK_WORKER_NAME)", *_tls(options)]
    container = _container(pattern, "worker", options.memory or WORKER_MEMORY, env, cpu="1") | {"command": args}
    if any(_is_in(spool, mount["mountPath"]) for mount in pattern.mounts):
        return _pod(pattern, container, ())
    container["volumeMounts"] = [*container["volumeMounts"], {"name": "corpusdiff-spool", "mountPath": spool}]
    return _pod(pattern, container, [{"name": "corpusdiff-spool", "emptyDir": {}}])


def _pod(pattern: Pattern, container: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        **pattern.pod,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # variables of every service of the namespace
        "shareProcessNamespace": True,  # so that somebody buries the children of a killed worker
        "containers": [container],
        "volumes": [*pattern.volumes, *volumes],
    }


def _container(pattern: Pattern, name: str, memory: str, env: Mapping[str, str], cpu: str = "500m") -> dict[str, Any]:
    """A container that is told what to run; `env` wins over the pattern's.

    Memory is requested, not limited: a track that takes too much ends its child process alone, but a pod at its
    limit dies with all it holds.
    """
    return {
        **pattern.container,
        "name": name,
        "image": pattern.image,
        "env": [*(item for item in pattern.env if item["name"] not in env), *_as_list(env)],
        "envFrom": list(pattern.env_from),
        "resources": {"requests": {"cpu": cpu, "memory": _quantity(memory)}},
        "volumeMounts": list(pattern.mounts),
    }


def _as_list(env: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in env.items()]


def _is_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _quantity(memory: str) -> str:
    """A size in Kubernetes' words.

    >>> _quantity("4GiB"), _quantity("1.5 GB")
    ('4096Mi', '1430Mi')
    """
    try:
        return f"{parse_bytes(memory) // 2**20}Mi"
    except ValueError as error:
        raise UsageError(f"--worker-memory {memory}: expected a size, e.g. 4GiB") from error


def _tls(options: ClusterOptions) -> list[str]:
    if options.tls is None:
        return []
    folder = options.tls.rstrip("/")
    files = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    return [
        "--protocol",
        "tls",
        *(word for flag, file in files.items() for word in (f"--tls-{flag}", f"{folder}/{file}")),
    ]


def _service(name: str) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
        "ports": [
            {"name": "tcp-comm", "protocol": "TCP", "port": COMM_PORT, "targetPort": "tcp-comm"},
            {"name": "http-dashboard", "protocol": "TCP", "port": HTTP_PORT, "targetPort": "http-dashboard"},
        ],
    }
