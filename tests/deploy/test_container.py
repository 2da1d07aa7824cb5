"""The container image: its file is clean, it is built without a Docker engine, and the demo runs inside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from needs import needs

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINER = REPOSITORY / "deploy/container"
CONTAINERFILE = CONTAINER / "Containerfile"

HADOLINT = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint not installed")
def test_hadolint_finds_nothing():
    """Neither in the Containerfile nor in the shell code within it."""
    found = subprocess.run([HADOLINT, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_image_asks_for_extras_that_exist():
    """pip only warns of others."""
    extras = re.search(r"^ARG EXTRAS=(.*)$", CONTAINERFILE.read_text(), re.MULTILINE)[1].split(",")
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= known.keys()


def run(*command, **options):
    """Run a program; what it printed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    """buildah's command line with a storage of its own."""
    storage = tmp_path_factory.mktemp("containers")
    command = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run")]
    # overlay needs a file system that can be its upper layer, which those of containers are not
    driver = ["--storage-driver", "overlay"]
    if subprocess.run([*command, *driver, "from", "scratch"], capture_output=True, check=False).returncode:
        shutil.rmtree(storage)
        driver = ["--storage-driver", "vfs"]
    command += driver
    yield command
    run(*command, "rm", "--all")
    run(*command, "rmi", "--all", "--force")


@pytest.fixture(scope="module")
def image(buildah):
    """The image, built on Debian's own packages: no registry is needed."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip(f"the base image has Python 3.11, this is {sys.version_info.major}.{sys.version_info.minor}")
    env = os.environ | {"BUILDAH": " ".join(buildah), "PYTHON": sys.executable, "BASE": "localhost/base:test"}
    run("bash", str(REPOSITORY / "tests/deploy/base_image.sh"), "localhost/base:test", env=env)
    run("bash", str(CONTAINER / "build.sh"), "localhost/corpusdiff:test", env=env)
    return "localhost/corpusdiff:test"


@pytest.fixture(scope="module")
def container(buildah, image):
    """A function that runs a command in a container of the image; what it printed."""
    name = run(*buildah, "from", "--pull-never", image).strip()
    return lambda *command, options=(): run(*buildah, "run", "--isolation", "chroot", *options, name, "--", *command)


@pytest.mark.faults
@pytest.mark.timeout(1200)
@needs("buildah", "mmdebstrap", root=True)
def test_the_demo_runs_in_the_image(container, tmp_path):
    """As a user without rights, with nothing of this checkout but the demo itself."""
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, 10001, 10001)
    mounts = (
        "--volume",
        f"{work}:/work",
        "--volume",
        f"{REPOSITORY / 'tests'}:/work/tests:ro",
        "--workingdir",
        "/work",
    )
    said = container("bash", "tests/demo.sh", options=mounts)
    assert "nothing is wrong" in said
    assert (work / "demo/tracks.csv").stat().st_uid == 10001


@pytest.mark.faults
@pytest.mark.timeout(1200)
@needs("buildah", "mmdebstrap", root=True)
def test_what_the_image_holds(container, buildah, image):
    """A user by number, our command, Dask's, and nothing of how it was built."""
    config = json.loads(run(*buildah, "inspect", "--type", "image", image))["OCIv1"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["corpusdiff"]
    assert container("id", "-u").strip() == "10001"
    assert "asr" in container("corpusdiff", "jobs")
    assert container("dask", "worker", "--help")
    places = "/build /mnt/* /etc/pip.conf /root/.cache /opt/corpusdiff/bin/pip"
    assert container("sh", "-c", f"ls -d {places} 2> /dev/null || true") == ""
