"""``plan.json``: the plan, who made it, and a checksum over every byte of the file."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from numpy._core._multiarray_umath import __cpu_features__

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan

#: Packages that can change a result.
PACKAGES = ("corpusdiff", "numpy", "scipy", "numba", "soundfile", "av", "soxr", "numcodecs")


def made_here() -> dict[str, Any]:
    """Versions, processor, time and command: what may explain a difference later."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "cpu": sorted(name for name, there in __cpu_features__.items() if there),
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "command": sys.argv,
    }


def dump_plan(plan: Plan, made: Mapping[str, Any]) -> bytes:
    """The file's bytes; one document has one spelling."""
    document = {"digest": plan.digest, "plan": plan.to_dict(), "made": dict(made)}
    return _spelled({**document, "sha256": hashlib.sha256(_spelled(document)).hexdigest()})


def load_plan(data: bytes) -> tuple[Plan, dict[str, Any]]:
    """The plan and who made it. Raises StoreError when a single bit is not as it was written."""
    try:
        document = json.loads(data)
        plan = Plan.from_dict(document["plan"])
        made = dict(document["made"])
        intact = dump_plan(plan, made) == data
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreError(f"the plan is damaged: {error}") from error
    if not intact:
        raise StoreError("the plan is damaged: its checksum does not fit")
    return plan, made


def changed_since(made: Mapping[str, Any]) -> list[str]:
    """What is different here from where the plan was made, in words."""
    here = made_here()
    there = made["versions"]
    lines = [
        f"{name} {there.get(name, 'absent')} then, {now} now"
        for name, now in here["versions"].items()
        if there.get(name) != now
    ]
    if made["cpu"] != here["cpu"]:
        lines.append("another kind of processor: results may differ in their last bits without --portable")
    return lines


def _spelled(document: Mapping[str, Any]) -> bytes:
    # ASCII, since a path may hold bytes that are no UTF-8
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
