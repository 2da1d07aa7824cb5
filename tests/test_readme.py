"""What README.md shows works: its commands and programs run, in order, in a folder with some recordings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from corpus_maker import make_corpus
from readme_blocks import Block, blocks

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()

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
        pytest.fail(f"README.md:{place}: {command}\n{said}", pytrace=False)


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


def follow(block: Block, folder: Path) -> None:
    """Do what a reader would do with a block."""
    if block.file_name:
        (folder / block.file_name).write_text(block.text)
        if block.file_name == "pyproject.toml":
            install(block.text, folder)
    elif block.language == "python":
        run([sys.executable, "-W", "error", "-c", block.text], folder, 0, f"{block.line}")
    for command, expected in block.commands if block.language == "console" else []:
        if not SETUP.match(command):
            run(command, folder, expected, f"{block.line}")


@pytest.mark.timeout(600)
def test_readme_works(tmp_path: Path) -> None:
    """A reader who follows README.md from top to bottom gets what it says, exit codes included."""
    make_corpus(tmp_path / "recordings", small=True)
    for block in blocks(README):
        follow(block, tmp_path)


def test_make_targets_of_the_readme_exist() -> None:
    """Every `make ...` in README.md is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(block.text for block in blocks(README))))
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_blocks_are_read_in_full() -> None:
    """Commands, their exit codes, file names and lines come out of a Markdown text."""
    text = "Text\n\n```console\n$ a b   # why\n$ c | d # exits 3\nsaid\n```\n```toml\n# x.toml\na = 1\n```\n"
    console, toml = blocks(text)
    assert console.commands == [("a b", 0), ("c | d", 3)]
    assert (console.line, toml.line) == (3, 8)
    assert (console.file_name, toml.file_name, toml.commands) == (None, "x.toml", [])


def test_a_wrong_exit_code_fails(tmp_path: Path) -> None:
    """A command that ends otherwise than the README says does not pass."""
    with pytest.raises(pytest.fail.Exception, match=r"README\.md:1: exit 4\nexit code 4, not 0"):
        follow(Block(1, "console", "$ exit 4\n"), tmp_path)
    follow(Block(1, "console", "$ exit 4 # exits 4\n"), tmp_path)
