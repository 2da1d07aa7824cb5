"""Runs on pods that the Dask operator's own code describes, and what is said where there are none."""

from __future__ import annotations

import signal
import socket

import psutil
import pytest
from distributed import Client
from fault_runs import TESTS, Run, checked, kill, make_recordings, same_corpus, wait_for
from kubernetes_api import NAMESPACE, KubernetesApi
from kubernetes_schemas import Refused, check_resource
from needs import needs

from corpusdiff.cluster import kubernetes
from corpusdiff.cluster.kubernetes import KubernetesCluster
from corpusdiff.cluster.kubernetes_api import Api, Driver
from corpusdiff.cluster.kubernetes_spec import Pattern, cluster_resource
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.tls import make_certificates
from corpusdiff.errors import CorpusdiffError, UsageError

IMAGE = "corpusdiff:test"
OPTIONS = ClusterOptions(workers=2, image=IMAGE)

DRIVER_SPEC = {
    "containers": [
        {
            "name": "driver",
            "image": IMAGE,
            "env": [
                {"name": "CORPUSDIFF_POD", "value": "driver-x"},
                {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "secret"}}},
            ],
            "envFrom": [{"secretRef": {"name": "store"}}],
            "volumeMounts": [
                {"name": "corpus", "mountPath": "/corpus"},
                {"name": "kube-api-access-1", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
            ],
            "securityContext": {"allowPrivilegeEscalation": False},
        }
    ],
    "nodeSelector": {"pool": "spot"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "securityContext": {"runAsUser": 10001, "fsGroup": 10001},
    "serviceAccountName": "corpusdiff",
    "volumes": [
        {"name": "corpus", "persistentVolumeClaim": {"claimName": "corpus"}},
        {"name": "kube-api-access-1", "projected": {"sources": []}},
    ],
}


@pytest.fixture
def api(tmp_path, monkeypatch):
    """An API server, and a kubeconfig that leads to it."""
    with KubernetesApi(tmp_path / "kubernetes") as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig()))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Waits for what will not come are over at once."""
    monkeypatch.setattr(kubernetes, "_FAILING_S", 0.0)
    monkeypatch.setattr(kubernetes, "_OPERATOR_S", 0.0)
    monkeypatch.setattr(kubernetes, "_LOOK_EVERY_S", 0.01)


def refusal(options=OPTIONS, kind=UsageError):
    """What the user reads when a cluster is opened in vain; nothing of it stays."""

    def open_and_close():
        cluster = KubernetesCluster(options, print)
        try:
            cluster.open()
        finally:
            cluster.close(kill=False)

    with pytest.raises(kind) as refused:
        open_and_close()
    return str(refused.value)


def resource(options=OPTIONS, pattern=Pattern(IMAGE), owner=None):  # noqa: B008
    return cluster_resource("corpusdiff-1", NAMESPACE, pattern, options, "host/h/1/2", owner)


@pytest.mark.parametrize("memory", [None, "4GiB"])
@pytest.mark.parametrize("spool", [None, "/scratch"])
def test_the_resource_is_what_the_operator_defines(memory, spool):
    """Checked strictly: a field that the definition does not name would be dropped in silence."""
    made = resource(ClusterOptions(workers=3, image=IMAGE, memory=memory, spool=spool))
    check_resource(made)
    worker = made["spec"]["worker"]["spec"]["containers"][0]
    assert made["spec"]["worker"]["replicas"] == 3
    assert worker["resources"]["requests"]["memory"] == ("4096Mi" if memory else "2048Mi")
    assert [mount["mountPath"] for mount in worker["volumeMounts"]] == [spool or "/spool"]
    assert {"name": "TMPDIR", "value": spool or "/spool"} in worker["env"]
    assert {"name": "DASK_DISTRIBUTED__WORKER__DAEMON", "value": "False"} in worker["env"]
    made["spec"]["worker"]["spec"]["containers"][0]["comand"] = []
    with pytest.raises(Refused, match="comand"):
        check_resource(made)


def test_dask_reads_its_settings_from_the_environment(monkeypatch):
    """The names and values that the pods get are those that Dask turns into our settings."""
    import dask

    from corpusdiff.cluster.kubernetes_spec import dask_environment
    from corpusdiff.cluster.settings import SETTINGS

    read = dask.config.collect(paths=[], env=dask_environment())
    assert {name: dask.config.get(name, config=read) for name in SETTINGS} == SETTINGS


def test_workers_are_like_the_drivers_pod():
    """Volumes, secrets, nodes and user; but neither its name nor its rights on the API."""
    sidecar = {"name": "proxy", "image": "proxy:1"}  # as meshes put it first
    pattern = Pattern.of_pod({"spec": DRIVER_SPEC | {"containers": [sidecar, *DRIVER_SPEC["containers"]]}}, None)
    made = resource(pattern=pattern, owner={"apiVersion": "v1", "kind": "Pod", "name": "driver-x", "uid": "1"})
    check_resource(made)
    pod = made["spec"]["worker"]["spec"]
    container = pod["containers"][0]
    assert {mount["name"] for mount in container["volumeMounts"]} == {"corpus", "corpusdiff-spool"}
    assert {volume["name"] for volume in pod["volumes"]} == {"corpus", "corpusdiff-spool"}
    assert "CORPUSDIFF_POD" not in {item["name"] for item in container["env"]}
    assert "AWS_SECRET_ACCESS_KEY" in {item["name"] for item in container["env"]}
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert pod["nodeSelector"] == {"pool": "spot"}
    assert pod["securityContext"] == {"runAsUser": 10001, "fsGroup": 10001}
    assert pod["serviceAccountName"] == "corpusdiff"
    assert pod["automountServiceAccountToken"] is False


def test_certificates_reach_the_pods_by_a_volume_of_the_drivers():
    """Scheduler and workers speak TLS; a folder that they do not see is refused."""
    spec = {**DRIVER_SPEC, "containers": [{**DRIVER_SPEC["containers"][0]}]}
    options = ClusterOptions(workers=1, tls="/corpus/tls")
    made = resource(options, Pattern.of_pod({"spec": spec}, None))
    for part in ("scheduler", "worker"):
        command = made["spec"][part]["spec"]["containers"][0]["command"]
        assert command[command.index("--tls-key") + 1] == "/corpus/tls/key.pem"
    env = made["spec"]["worker"]["spec"]["containers"][0]["env"]
    assert {"name": "DASK_SCHEDULER_ADDRESS", "value": "tls://corpusdiff-1-scheduler.audio.svc:8786"} in env
    with pytest.raises(UsageError, match="/elsewhere"):
        resource(ClusterOptions(workers=1, tls="/elsewhere"), Pattern.of_pod({"spec": spec}, None))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ClusterOptions(workers=2), "--image"),
        (ClusterOptions(image=IMAGE), "--workers N"),
        (ClusterOptions(image=IMAGE, workers=1, memory="much"), "4GiB"),
        (ClusterOptions(image=IMAGE, workers=1, namespace="nowhere"), "nowhere"),
    ],
)
def test_options_that_are_missing_or_wrong(api, options, said):
    """Each is named, with what to give; nothing is made."""
    assert said in refusal(options)
    assert not api.posted


def test_no_way_to_an_api(tmp_path, monkeypatch):
    """Neither a pod nor a kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "KUBECONFIG" in refusal()


def test_an_api_that_does_not_answer(tmp_path, monkeypatch):
    """No fault of the request: a Job that says so is started again."""
    with KubernetesApi(tmp_path / "kubernetes") as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig()))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "does not answer" in refusal(kind=CorpusdiffError)


@pytest.mark.parametrize("n_failures", [2, 20])
def test_an_api_with_moments_of_weakness(api, impatient, n_failures):
    """A few are waited out; many end the run, with the code for which a Job is started again."""
    api.operator = False
    api.failures = n_failures
    if n_failures == 2:
        assert "is the Dask operator running" in refusal()
    else:
        assert "503" in refusal(kind=CorpusdiffError)


def test_a_request_whose_answer_is_lost(api, impatient):
    """The second try finds what the first one made: there is one cluster, not two, and no error."""
    api.operator = False
    api.lose_answers_to = "create"
    assert "is the Dask operator running" in refusal()
    assert len(api.posted) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"defined": False}, "install the Dask operator"),
        ({"operator": False}, "is the Dask operator running"),
        ({"forbidden": ("create daskclusters",)}, "may not create daskclusters in namespace audio"),
        ({"forbidden": ("list pods",)}, "deploy/kubernetes/access.yaml"),
        ({"images": {}}, 'Back-off pulling image "corpusdiff:test"'),
    ],
)
def test_a_cluster_that_cannot_have_workers(api, impatient, settings, said):
    """What is missing is named, and the resource that was made for nothing is removed."""
    for name, value in settings.items():
        setattr(api, name, value)
    assert said in refusal()
    assert not api.resources


def test_a_token_that_has_expired(api, monkeypatch):
    """The user is told to renew it."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig("old")))
    assert "renew the credentials" in refusal()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Recordings, and the corpus that the serial runner makes of them."""
    folder = tmp_path_factory.mktemp("kubernetes")
    source = make_recordings(folder / "recordings", 60)
    with Run(source, folder / "reference", "--cluster", "none") as run:
        assert run.finish() == 0, run.said
    return source, run.out, checked(run.out).n_shards


#: What an image sets whose tracks take their time.
SLOW = {"CORPUSDIFF_TEST_HOOK": "hooks:slow", "PYTHONPATH": str(TESTS)}


def pods(api, component):
    """The pods of all clusters that are there."""
    return [pod for cluster in list(api.running.values()) for pod in cluster.pods if pod.component == component]


def strike(api, run, component, n_commits):
    """Kill -9 the container of a pod when so many shards are committed; Kubernetes starts it again."""
    run.await_commits(n_commits)
    assert not run.ended, run.said
    pod = pods(api, component)[0]
    kill(pod.process.pid)
    wait_for(lambda: pod.n_starts > 1, f"the kubelet to start the {component} again")
    assert not run.ended, run.said


@pytest.mark.faults_short
def test_a_run_whose_worker_and_scheduler_are_killed(api, reference, tmp_path):
    """A driver outside: one command ends with the bytes of an undisturbed run, and leaves nothing in Kubernetes."""
    source, expected, n_shards = reference
    options = ("--cluster", "kubernetes", "--workers", "2", "--image", IMAGE)
    api.images[IMAGE] = SLOW
    with Run(source, tmp_path / "out", *options) as run:
        strike(api, run, "worker", 1)
        strike(api, run, "scheduler", n_shards // 2)
        assert run.finish() == 0, run.said
    same_corpus(run.out, expected, run.said)
    assert not api.resources


#: Gives a process the credentials of a pod's service account, where a pod has them, then runs the command.
IN_POD = """
import os, sys
script = '''
mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && cp -r "$CREDENTIALS" /run/secrets/kubernetes.io &&
exec "$0" -m corpusdiff.cli "$@"
'''
os.execvp("unshare", ["unshare", "--mount", "sh", "-c", script, sys.executable, *sys.argv[1:]])
"""


@pytest.mark.faults_short
@needs("unshare", root=True)
def test_a_driver_that_is_killed_in_its_pod(api, reference, tmp_path, monkeypatch):
    """Its Job starts it again: it removes the cluster that was left behind, and goes on where it was."""
    source, expected, _ = reference
    api.add_driver_pod("driver-x", DRIVER_SPEC)
    api.secrets["store"] = {"secret": "s3cr3t"}
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    monkeypatch.setenv("CREDENTIALS", str(api.credentials()))
    monkeypatch.setenv("CORPUSDIFF_POD", "driver-x")
    options = ("--cluster", "kubernetes", "--workers", "2")
    api.images[IMAGE] = SLOW
    with Run(source, tmp_path / "out", *options, program=("-c", IN_POD)) as run:
        run.await_commits(2)
        assert not run.ended, run.said
        kill(run.process.pid)
        run.process.wait()
    (left,) = api.resources
    with Run(source, tmp_path / "out", *options, program=("-c", IN_POD)) as run:
        assert run.finish() == 0, run.said
    assert f"removing DaskCluster {left}" in run.said
    same_corpus(run.out, expected, run.said)
    assert not api.resources
    assert len(api.posted) == 2


@pytest.mark.faults_short
def test_links_between_pods_are_encrypted(api, tmp_path, monkeypatch):
    """With certificates in a volume of the driver's pod; who has none is not let in."""
    folder = tmp_path / "tls"
    make_certificates(str(folder), ())
    volume = {"name": "tls", "hostPath": {"path": str(folder)}}
    pattern = Pattern(IMAGE, volumes=(volume,), mounts=({"name": "tls", "mountPath": str(folder)},))
    monkeypatch.setattr(kubernetes, "_pattern", lambda driver, image: pattern)
    cluster = KubernetesCluster(ClusterOptions(workers=1, image=IMAGE, tls=str(folder)), print)
    try:
        client = cluster.open()
        assert client.scheduler.address.startswith("tls://127.77.")
        assert client.submit(sum, (1, 2)).result(timeout=60) == 3
        with pytest.raises(OSError, match="imed out|closed"):
            Client(client.scheduler.address.replace("tls", "tcp"), timeout=3, set_as_default=False)
    finally:
        cluster.close(kill=False)


@pytest.mark.faults_short
def test_a_signal_while_pods_are_awaited(api, reference, tmp_path):
    """Nodes may take minutes to come; whoever will not wait leaves nothing behind."""
    api.operator = False
    options = ("--cluster", "kubernetes", "--workers", "2", "--image", IMAGE)
    with Run(reference[0], tmp_path / "out", *options) as run:
        wait_for(lambda: api.resources or run.ended, "the resource")
        run.signal(signal.SIGTERM)
        assert run.finish() == 130, run.said
    assert not api.resources


def test_whose_driver_is_gone(api):
    """Only what surely works no more is cleared away; what cannot be seen from here is left to the operator."""
    uid, me = api.add_driver_pod("driver-x", DRIVER_SPEC), psutil.Process()
    here = Api(None)
    outside = Driver.of_this_process(here)
    inside = Driver("", here.pod("driver-x"))
    alive, dead = f"{me.pid}/{me.create_time()}", f"{me.pid}/1.0"
    host = socket.gethostname()
    gone = {f"host/{host}/{alive}": False, f"host/{host}/{dead}": True, f"host/elsewhere/{dead}": False, "": False}
    assert {identity: outside.is_gone(identity, here) for identity in gone} == gone
    pods = {f"pod/driver-x/{uid}/{dead}": False, f"pod/driver-x/{uid}0/{alive}": True, f"pod/driver-y/1/{alive}": True}
    assert {identity: outside.is_gone(identity, here) for identity in pods} == pods
    own = {f"pod/driver-x/{uid}/{alive}": False, f"pod/driver-x/{uid}/{dead}": True}
    assert {identity: inside.is_gone(identity, here) for identity in own} == own
    api.other_pods["driver-x"]["status"]["phase"] = "Failed"
    assert outside.is_gone(f"pod/driver-x/{uid}/{alive}", here)
    here.close()


def test_a_secret_that_is_not_there(api, monkeypatch):
    """Waiting does not bring it: the run ends at once, and says its name."""
    pattern = Pattern(IMAGE, env_from=({"secretRef": {"name": "store"}},))
    monkeypatch.setattr(kubernetes, "_pattern", lambda driver, image: pattern)
    said = refusal()
    assert "CreateContainerConfigError" in said
    assert "store" in said


def test_a_cluster_goes_with_its_drivers_pod(api):
    """Kubernetes collects it: it has an owner."""
    uid = api.add_driver_pod("driver-x", DRIVER_SPEC)
    api.operator = False
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "driver-x", "uid": uid}
    api.create(resource(owner=owner))
    api.remove_pod("driver-x")
    assert not api.resources
