"""Run a command and write what it and every process that it left behind took.

python tests/bench/cpu_of.py FILE COMMAND...

FILE gets `{"cpu_s": user and system time, "wall_s": ..., "peak_bytes": resident memory of the largest process}`.
A process that its parent did not wait for is lost to the parent's accounts. Here it becomes a child of this
process (PR_SET_CHILD_SUBREAPER), which waits for all.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """The command's exit code."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    started = time.monotonic()
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    wall_s = 0.0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if pid == process.pid:
            wall_s = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s, "peak_bytes": used.ru_maxrss * 1024}
    Path(sys.argv[1]).write_text(json.dumps(found))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
