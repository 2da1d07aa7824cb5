"""Hosts files: one host on each line, checked so strictly that no word of one means anything to a shell."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from corpusdiff.errors import UsageError

_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*")
_PYTHON = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+@-]*")

_LINE = "expected `HOST [workers=N] [python=PATH] [address=IP]`"


@dataclass(frozen=True)
class Host:
    """A line of a hosts file.

    Parameters
    ----------
    name : as SSH takes it, ``user@`` before it if need be
    workers : number of worker processes; None for what the command says
    python : interpreter there
    address : where its workers listen; None for the address that routes to the driver
    """

    name: str
    workers: int | None = None
    python: str = sys.executable
    address: str | None = None


def read_hosts(path: str) -> list[Host]:
    """The hosts of a file, in order. Raises UsageError for a line that is none, and for a host named twice."""
    try:
        lines = Path(path).read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--cluster hosts:{path}: {error}; expected a file with one host on each line") from error
    hosts: dict[str, Host] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            host = _host(words, f"{path}, line {number}")
            if host.name in hosts:
                raise UsageError(f"{path}, line {number}: {host.name} is there already; use workers=N for more workers")
            hosts[host.name] = host
    if not hosts:
        raise UsageError(f"{path} names no host: {_LINE} on each line")
    return list(hosts.values())


def _host(words: list[str], where: str) -> Host:
    name, *settings = words
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: {name!r} is no host's name; {_LINE}")
    found: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        pattern = {"workers": re.compile("[1-9][0-9]{0,3}"), "python": _PYTHON, "address": _ADDRESS}.get(key)
        if pattern is None or key in found or not pattern.fullmatch(value):
            raise UsageError(f"{where}: {setting!r} is not understood; {_LINE}")
        found[key] = value
    workers = int(found["workers"]) if "workers" in found else None
    return Host(name, workers, found.get("python", sys.executable), found.get("address"))
