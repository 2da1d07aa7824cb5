"""The driver of a simulated run: ``python -m scale.simulated_run SOURCE OUT SPEC``; its peak memory as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from scale.simulated import commit_nothing

from corpusdiff import driver
from corpusdiff.request import RunRequest


def peak_bytes(pid: int | str = "self") -> int:
    """Peak resident memory of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    driver.do_errand = commit_nothing
    code = driver.execute(RunRequest(*sys.argv[1:3], job="asr", cluster=sys.argv[3]))
    print(json.dumps({"code": code, "peak_bytes": peak_bytes()}))
