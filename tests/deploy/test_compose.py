"""The services of the compose file, run as processes: what they say to each other holds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from fault_runs import checked, kill, make_recordings, wait_for

COMPOSE = Path(__file__).resolve().parents[2] / "deploy/compose.yaml"

#: The address of the service `scheduler`, in place of a network of containers.
SCHEDULER = f"127.78.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 2}"


class Service:
    """One container of a service, as a process; ends with the block."""

    def __init__(self, service: dict, data: Path, log: Path, *more: str) -> None:
        words = [*service.get("entrypoint", ["corpusdiff"]), *service["command"], *more]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [_here(word, data) for word in words], env=service["environment"] | {"PATH": path, "HOME": str(data)},
                cwd=data, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *reason: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _here(word: str, data: Path) -> str:
    """A word of a command, with this machine's addresses and folders."""
    word = re.sub(r"^/data\b", str(data), word.replace("//scheduler:", f"//{SCHEDULER}:"))
    return re.sub(r"^:(\d+)$|localhost:(\d+)", lambda found: f"{SCHEDULER}:{found[1] or found[2]}", word)


@pytest.mark.faults
def test_the_services_make_a_corpus(tmp_path):
    """Scheduler, two workers and the driver, with one worker killed on the way; the health check holds too."""
    data = tmp_path / "data"
    make_recordings(data / "recordings", 40)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    services = yaml.safe_load(re.sub(r"\$\{DATA:\?[^}]*\}", str(data), text))["services"]
    log = tmp_path / "log"
    with ExitStack() as stack:
        scheduler = services["scheduler"]
        stack.enter_context(Service(scheduler, data, log, "--host", SCHEDULER))
        check = [_here(word, data) for word in scheduler["healthcheck"]["test"][1:]]
        check[0] = sys.executable
        wait_for(lambda: not subprocess.run(check, capture_output=True, check=False).returncode, "the scheduler")
        workers = [stack.enter_context(Service(services["worker"], data, log)) for _ in range(2)]
        driver = stack.enter_context(Service(services["driver"], data, log, "--shard-s", "3"))
        wait_for(lambda: list((data / "corpus/commits").glob("*/*")) or driver.process.poll() is not None, "a commit")
        kill(workers[0].process.pid)
        assert driver.process.wait(120) == 0, log.read_text()
    assert checked(data / "corpus").n_rows == 40
