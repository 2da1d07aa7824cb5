"""A real terminal, by tmux: keys go in, the screen is looked at."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Seconds for whatever is waited for; a loaded machine is slow.
PATIENCE_S = 30.0


class Terminal:
    """One window of tmux.

    Parameters
    ----------
    socket : of its server
    env : more of the environment, for what runs in it
    """

    def __init__(self, socket: Path, env: Mapping[str, str]) -> None:
        self._socket = str(socket)
        kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self._env = {**kept, **env}  # its size is its own

    def tmux(self, *words: str) -> str:
        """Run a command of tmux."""
        command = ["tmux", "-f", "/dev/null", "-S", self._socket, *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_S, env=self._env
        ).stdout

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys such as ``Enter`` and ``Tab``."""
        self.tmux("send-keys", "-l", text)
        if keys:
            self.tmux("send-keys", *keys)

    def screen(self) -> list[str]:
        """Lines that are seen, those that scrolled off before them."""
        return [line.rstrip() for line in self.tmux("capture-pane", "-p", "-S", "-").splitlines()]

    def until(self, wanted: Callable[[list[str]], object]) -> list[str]:
        """The screen, once it is as wanted."""
        ends = time.monotonic() + PATIENCE_S
        while not wanted(screen := self.screen()):
            assert time.monotonic() < ends, "\n".join(screen)
            time.sleep(0.05)
        return screen


@contextmanager
def terminal(
    folder: Path, shell: str, env: Mapping[str, str], width: int = 100, height: int = 30
) -> Iterator[Terminal]:
    """A terminal in which `shell` runs, in `folder`."""
    found = Terminal(folder / "tmux", env)
    found.tmux("new-session", "-d", "-x", str(width), "-y", "30", "-c", str(folder), shell)
    try:
        yield found
    finally:
        found.tmux("kill-server")
