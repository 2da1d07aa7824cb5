"""Run a command and write the CPU seconds of it and of every process that it left behind.

python tests/bench/cpu_of.py FILE COMMAND...

A process that its parent did not wait for is lost to the parent's accounts. Here it becomes a child of this
process (PR_SET_CHILD_SUBREAPER), which waits for all.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """The command's exit code."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(sys.argv[1]).write_text(str(used.ru_utime + used.ru_stime))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
