"""What a hostile file would try from inside the process that decodes it; a hook of CORPUSDIFF_TEST_HOOK."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

from corpusdiff.errors import TrackError


def tries(track):
    """Do what the track's id says, and fail the track with what came of it."""
    raise TrackError("decode", repr(globals()[track.id]()))


def outcome(act):
    """What an act came to: a value, or the name of an error."""
    try:
        return act()
    except OSError as error:
        return type(error).__name__


def network():
    """A connection to anywhere, and a socket of any kind."""
    kinds = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)
    return [outcome(lambda kind=kind: socket.socket(kind, socket.SOCK_DGRAM)) for kind in kinds]


def programs():
    """Another program."""
    return outcome(lambda: subprocess.run([sys.executable, "-c", ""], check=False).returncode)


def threads():
    """A thread, which libraries may want."""
    found = []
    thread = threading.Thread(target=lambda: found.append(1))
    thread.start()
    thread.join()
    return found


def descriptors():
    """Files that are open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return sorted({str(link.readlink()).split(":")[0] for link in links})


def environment():
    """What is in the environment."""
    return sorted(os.environ)


def limits():
    """Core dumps, files; and what stdin is."""
    return [
        resource.getrlimit(resource.RLIMIT_CORE)[1],
        resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        str(Path("/proc/self/fd/0").readlink()),
    ]
