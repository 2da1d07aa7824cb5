"""What deploy/ tells Kubernetes, compose and the reader is what they understand."""

from __future__ import annotations

import os
import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import compose_spec
import pytest
import yaml
from kubernetes_schemas import Refused, check_resource

from corpusdiff.cli import main
from corpusdiff.cluster.kubernetes_spec import Pattern, cluster_resource, dask_environment
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.settings import ONE_THREAD

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
PAGES = sorted(DEPLOY.rglob("*.md"))


def resources():
    """Every resource in deploy/kubernetes, by file and kind."""
    for path in MANIFESTS:
        for resource in yaml.safe_load_all(path.read_text()):
            yield pytest.param(resource, id=f"{path.name}-{resource['kind']}")


def of_kind(kind):
    """The one resource of its kind."""
    (found,) = (param.values[0] for param in resources() if param.values[0]["kind"] == kind)
    return found


@pytest.mark.parametrize("resource", list(resources()))
def test_resources_are_what_kubernetes_knows(resource):
    """Strictly: a field it does not know, it would drop in silence."""
    check_resource(resource)
    with pytest.raises(Refused):
        check_resource(resource | {"sepc": {}})


@pytest.mark.parametrize("resource", list(resources()))
def test_everything_lives_in_one_namespace(resource):
    """But the namespace itself."""
    where = resource["metadata"]["name" if resource["kind"] == "Namespace" else "namespace"]
    assert where == "corpusdiff"


def test_the_driver_may_do_what_it_does():
    """The calls of `cluster.kubernetes_api`, and none besides; the account is the driver's."""
    rules = {rule["resources"][0]: set(rule["verbs"]) for rule in of_kind("Role")["rules"]}
    assert rules == {"daskclusters": {"create", "get", "list", "delete"}, "pods": {"get", "list"}, "services": {"get"}}
    assert of_kind("RoleBinding")["subjects"][0]["name"] == of_kind("ServiceAccount")["metadata"]["name"]
    pod = of_kind("Job")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == of_kind("ServiceAccount")["metadata"]["name"]
    (driver,) = pod["containers"]
    assert driver["envFrom"][0]["secretRef"]["name"] == of_kind("Secret")["metadata"]["name"]
    assert driver["env"][0]["name"] == "CORPUSDIFF_POD"


def test_the_drivers_pod_is_a_pattern_for_workers():
    """What its Job describes, with the options of its command, makes a resource that the operator takes."""
    job = of_kind("Job")
    pattern = Pattern.of_pod(job["spec"]["template"], None)
    made = cluster_resource("corpusdiff-1", "corpusdiff", pattern, ClusterOptions(workers=100), "pod/x/1", None)
    check_resource(made)
    restricted = made["spec"]["worker"]["spec"]
    assert restricted["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert restricted["securityContext"]["runAsNonRoot"] is True
    assert restricted["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_standing_cluster_is_like_those_of_runs():
    """A copy that could drift away."""
    shown = of_kind("DaskCluster")
    store = {"secretRef": {"name": of_kind("Secret")["metadata"]["name"]}}
    image = shown["spec"]["worker"]["spec"]["containers"][0]["image"]
    workers = ClusterOptions(workers=shown["spec"]["worker"]["replicas"])
    made = cluster_resource("corpusdiff", "corpusdiff", Pattern(image, env_from=(store,)), workers, "", None)
    del made["spec"]["idleTimeout"]  # it stays
    assert _filled(shown["spec"]) == _filled(made["spec"])


def _filled(value):
    """Without empty lists, which mean what absence means."""
    if isinstance(value, dict):
        return {key: _filled(item) for key, item in value.items() if item != []}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def compose():
    """deploy/compose.yaml as compose reads it, with the variables' defaults."""
    text = _substituted((DEPLOY / "compose.yaml").read_text())
    options = compose_spec.PyOptions(apply_merge=True)
    options.from_yaml(text).validate()
    return yaml.safe_load(text)


def _substituted(text):
    """With the defaults of its variables; DATA has none."""
    text = re.sub(r"\$\{DATA:\?[^}]*\}", "/srv/data", text)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_compose_sets_what_dask_needs(compose):
    """The settings of schedulers that we start ourselves, and one thread for each library."""
    environment = compose["services"]["worker"]["environment"]
    assert environment == dask_environment() | ONE_THREAD


def test_the_page_lists_the_settings_of_other_schedulers():
    """`cluster.fitness` sends readers there."""
    page = (DEPLOY / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(DASK_\w+)` \| `([^`]*)` \|", page, re.MULTILINE))
    assert rows == dask_environment()


def test_a_mistake_in_the_compose_file_is_found():
    """The check above can fail."""
    text = (DEPLOY / "compose.yaml").read_text().replace("depends_on:", "depend_on:")
    with pytest.raises(ValueError, match="depend_on"):
        compose_spec.PyOptions(apply_merge=True).from_yaml(_substituted(text))


def commands():
    """Every command of ours in deploy/: of its pages' code blocks, the driver's Job and the compose file."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if (words := _ours(shlex.split(line, comments=True))) is not None:
                    yield pytest.param(words, id=f"{page.relative_to(DEPLOY)}: {' '.join(words)[:50]}")
    yield pytest.param(of_kind("Job")["spec"]["template"]["spec"]["containers"][0]["command"], id="driver.yaml")
    services = yaml.safe_load(_substituted((DEPLOY / "compose.yaml").read_text()))["services"]
    yield pytest.param(["corpusdiff", *services["driver"]["command"]], id="compose.yaml")


def _ours(words):
    """From `corpusdiff` on, at the start of a line or after a program that starts it; None where there is none."""
    for at, (word, next_word) in enumerate(pairwise(words)):
        if word == "corpusdiff" and (at == 0 or next_word in main.commands):
            return words[at:]
    return None


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_shown_is_one(command, monkeypatch):
    """Our command line takes it, options and all; folders that it names are taken for existing."""
    name, *words = command[1:]
    parsed = main.get_command(click.Context(main), name)
    assert parsed is not None, f"no command {name}"
    for option in parsed.params:
        if isinstance(option.type, click.Path):
            monkeypatch.setattr(option.type, "exists", False)
    parsed.make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DEPLOY)))
def test_links_between_pages_lead_somewhere(page):
    """Files of the repository; others write theirs at the same time."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert os.path.exists(page.parent / target), target  # noqa: PTH110
