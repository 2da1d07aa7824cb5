"""The SSH connection to each host, made again whenever it ends."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Sequence

from corpusdiff.cluster.hosts_file import Host
from corpusdiff.cluster.hosts_remote import HEARTBEAT, MARK, QUIT, Settings
from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify

#: Variable that names another SSH command, with options, as ``ssh -F /etc/cluster/ssh_config``.
SSH_VARIABLE = "CORPUSDIFF_SSH"

#: Nothing is asked, nothing is forwarded or shared; a silent host is given up after 60 s (it gives us up before).
_SSH_OPTIONS = (
    *("-S", "none", "-T", "-x", "-a"),
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
    *(
        "-o",
        "ClearAllForwardings=yes",
        "-o",
        "PermitLocalCommand=no",
        "-o",
        "RemoteCommand=none",
        "-o",
        "LogLevel=ERROR",
    ),
)

#: Pauses before an ended connection is made again, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0

#: Exit codes: of SSH itself, and of a shell that cannot start a program.
_SSH_FAILED, _NOT_STARTED = 255, {126, 127}

_REFUSED = re.compile("Permission denied|Host key verification|Too many authentication")


def ssh_command() -> list[str]:
    """The SSH program and the user's options for it. Raises UsageError for a variable that is no command."""
    command = os.environ.get(SSH_VARIABLE, "")
    try:
        return shlex.split(command) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"{SSH_VARIABLE} is {command!r} ({error}): expected a command, as `ssh -F FILE`") from error


def remote_command(host: Host, settings: Settings, prologue: Sequence[str]) -> str:
    """What the host's login shell is to run: one script for ``sh``, in letters that no shell has a meaning for."""
    run = shlex.join([host.python, "-m", "corpusdiff.cluster.hosts_remote", settings.to_json()])
    # The home folder, in which it runs, is no place to import from.
    script = "\n".join([*prologue, "export PYTHONSAFEPATH=1", f"exec {run}"])
    letters = base64.b64encode(script.encode()).decode()
    return f"exec sh -c 'eval \"$(echo {letters} | base64 -d)\"'"


class HostLink:
    """Keeps one host's SSH connection, in a thread of its own, until it is told to end.

    Parameters
    ----------
    host : whose it is
    command : for its login shell
    notify : takes notices for the user
    """

    def __init__(self, host: Host, command: str, notify: Notify) -> None:
        self.host = host
        self.n_workers = 0  # what the host says it keeps
        self.problem: str | None = None  # why the last connection ended
        self.hopeless = False  # whether only the user can mend it
        self.settled = threading.Event()  # it is connected, or the first try failed
        self.last_death = ""  # what a worker said that ended there
        self._arguments = [*ssh_command(), *_SSH_OPTIONS, "--", host.name, command]
        self._notify = notify
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"corpusdiff-{host.name}", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Tell the host that the driver is there."""
        self._send(HEARTBEAT)

    def quit(self) -> None:
        """Let the host's workers leave, for nothing runs."""
        self._ending.set()
        self._send(QUIT)

    def hang_up(self) -> None:
        """End the host's workers at once."""
        self._ending.set()
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                if not self.n_workers:
                    self._process.kill()  # it is still on its way there

    def join(self, timeout_s: float) -> None:
        """Wait for SSH to end, after `quit` or `hang_up`; kill it when it does not: the host hears nothing then."""
        self._thread.join(timeout_s)
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _send(self, byte: bytes) -> None:
        with self._lock:
            if self._process is None or self._process.stdin is None or self._process.stdin.closed:
                return
            try:
                self._process.stdin.write(byte)  # a full pipe takes nothing, and does not wait
            except BrokenPipeError:
                return  # SSH has ended, which the thread sees

    def _keep(self) -> None:
        pause_s, said = _FIRST_PAUSE_S, None
        while not self._ending.is_set():
            self.problem = self._connect()
            if self._ending.is_set():
                break
            if self.n_workers:
                pause_s, self.n_workers = _FIRST_PAUSE_S, 0
            if self.settled.is_set() and self.problem != said:
                self._notify(f"{self.problem}. Trying again")
            said = self.problem
            self.settled.set()
            self._ending.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _connect(self) -> str:
        """One connection from its beginning to its end; why it ended."""
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    self._arguments,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    process_group=0,  # the terminal's Ctrl-C is for the driver
                )
            except OSError as error:
                self.hopeless = True
                return f"{self._arguments[0]} does not start ({error}): install OpenSSH's client, or set {SSH_VARIABLE}"
            assert process.stdin is not None  # for mypy: both are pipes
            assert process.stdout is not None
            os.set_blocking(process.stdin.fileno(), False)
            with process:
                with self._lock:
                    self._process = process
                if self._ending.is_set():
                    self.hang_up()
                said = None
                with open(process.stdout.fileno(), errors="replace", closefd=False) as lines:
                    for line in lines:
                        said = self._hear(line) or said
                code = process.wait()
                with self._lock:
                    self._process = None
            errors.seek(0)
            return self._explained(code, said, errors.read().decode(errors="replace").strip().splitlines())

    def _hear(self, line: str) -> str | None:
        """A line from the host: what is wrong there, if it says so."""
        if not (line.startswith(MARK) and line.endswith("\n")):
            return None  # of a login script, or cut short by SSH's end
        message = json.loads(line.removeprefix(MARK))
        if "ready" in message:
            self.n_workers = message["ready"]
            self.hopeless = False
            if self.settled.is_set():
                self._notify(f"host {self.host.name} is back, with {self.n_workers} workers")
            self.settled.set()
        elif "ended" in message:
            ended = message["ended"]
            self.last_death = f"exit code {ended['code']}: {ended['said'] or 'it said nothing'}"
            if not self._ending.is_set():
                self._notify(
                    f"worker {ended['worker']} of {self.host.name} ended ({self.last_death}): starting another"
                )
        return message.get("problem")

    def _explained(self, code: int, problem: str | None, lines: list[str]) -> str:
        """Why the connection ended, and what to do; sets `hopeless` where trying again is of no use."""
        name, python = self.host.name, self.host.python
        text, said = "\n".join(lines), lines[-1] if lines else f"exit code {code}"
        if self.n_workers:
            return f"the connection to host {name} ended ({said})"
        self.hopeless = True
        if code == _SSH_FAILED and not _REFUSED.search(text):
            self.hopeless = False
            return f"host {name} cannot be reached ({said}): look at its name, its network, and whether it is up"
        if code == _SSH_FAILED:
            return f"host {name} does not let us in ({said}): `ssh {name} true` must work and ask for nothing"
        if problem is None:
            problem = f"no workers ({said}): try `ssh {name} {python} -m corpusdiff.cli --version`"
            remedy = "install it there, or give its line another python=PATH"
            if code in _NOT_STARTED and python in text:
                problem = f"no {python} ({said}): {remedy}"
            elif "No module named" in text and "corpusdiff" in text:
                problem = f"{python} has no corpusdiff of this version: {remedy}"
        return f"host {name}: {problem}"
