"""What a test needs of its machine, as a mark that skips it with the reason."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(*programs: str, root: bool = False) -> pytest.MarkDecorator:
    """Skip where a program is not installed, or, with `root`, where this is not the superuser.

    Programs are looked for in the superuser's folders too.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    reasons = [f"{', '.join(missing)} not installed"] * bool(missing)
    reasons += ["not the superuser"] * (root and os.geteuid() != 0)
    return pytest.mark.skipif(bool(reasons), reason="; ".join(reasons))
