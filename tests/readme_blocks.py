"""What a Markdown file shows in its code blocks, in order, and following it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<command>.*?)(?:\s+# .*?)?$")
_EXIT_CODE = re.compile(r"# exits (\d+)$")
_FILE_NAME = re.compile(r"\A# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Parameters
    ----------
    line : of the opening fence in the file, from 1
    language : what the fence says
    text : what is inside
    """

    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is, from a first line such as ``# fade.toml``."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found else None

    @property
    def commands(self) -> list[tuple[str, int]]:
        """Commands of a console block, each with the exit code it should have (``# exits 3``, else 0)."""
        found = []
        for line in self.text.splitlines():
            if match := _COMMAND.match(line):
                code = _EXIT_CODE.search(line)
                found.append((match["command"], int(code[1]) if code else 0))
        return found


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of `markdown`."""
    for match in _BLOCK.finditer(markdown):
        yield Block(markdown.count("\n", 0, match.start()) + 1, match[1], match[2])


#: What makes an environment rather than using one; CI runs these.
SETUP = re.compile(r"make |\. |pip install ")


def run(command: str | list[str], folder: Path, expected: int, place: str) -> None:
    """Run in `folder`, with the package's commands on PATH, and fail with all that was said."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
    }
    shell = isinstance(command, str)
    done = subprocess.run(
        command,
        shell=shell,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode != expected:
        said = f"exit code {done.returncode}, not {expected}\n{done.stdout}\n{done.stderr}"
        pytest.fail(f"{place}: {command}\n{said}", pytrace=False)


def install(pyproject: str, folder: Path) -> None:
    """Do what `pip install -e .` does for the entry points of a project in `folder`, which is on sys.path."""
    project = tomllib.loads(pyproject)["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def follow(block: Block, folder: Path, page: str = "README.md") -> None:
    """Do what a reader of a page would do with a block of it."""
    if block.file_name:
        (folder / block.file_name).write_text(block.text)
        if block.file_name == "pyproject.toml":
            install(block.text, folder)
    elif block.language == "python":
        run([sys.executable, "-W", "error", "-c", block.text], folder, 0, f"{page}:{block.line}")
    for command, expected in block.commands if block.language == "console" else []:
        if not SETUP.match(command):
            run(command, folder, expected, f"{page}:{block.line}")
