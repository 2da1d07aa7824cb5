"""What jobs/README.md shows can be loaded: its job files, its commands and the parameters in its tables."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from readme_blocks import Block, blocks

from corpusdiff.job import Job
from corpusdiff.jobfile import load_job, ready_jobs

JOBS = Path(__file__).resolve().parents[1] / "jobs"
README = (JOBS / "README.md").read_text()
SHOWN = list(blocks(README))
FILES = [block for block in SHOWN if block.language == "toml"]
COMMANDS = [command for block in SHOWN if block.language == "console" for command, _ in block.commands]
SECTIONS = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL))


def options(command: str, name: str) -> list[str]:
    """Values of an option in a command line."""
    words = shlex.split(command)
    return [value for option, value in pairwise(words) if option == name]


def value_of(job: Job, key: str) -> object:
    """What a dotted key names, as `--set` would find it."""
    found: object = job.to_dict()
    for part in key.split("."):
        if isinstance(found, list):
            found = next(table for table in found if part in {table.get("stage"), table.get("name")})
        else:
            assert isinstance(found, dict)
            found = found[part]
    return found


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.file_name)
def test_job_files_of_the_readme_load(block: Block, tmp_path: Path) -> None:
    """Each has a name and a description, and is a job."""
    assert block.file_name
    path = tmp_path / block.file_name
    path.write_text(block.text)
    job = load_job(str(path))
    assert job.name == path.stem
    assert job.description


@pytest.mark.parametrize("command", COMMANDS)
def test_jobs_of_the_commands_load(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that a command names is ready or shown above, and takes what is set."""
    monkeypatch.chdir(tmp_path)
    for block in FILES:
        (tmp_path / str(block.file_name)).write_text(block.text)
    assert shlex.split(command)[0] == "corpusdiff"
    assert shlex.split(command)[1] in {"run", "plan"}
    (name,) = options(command, "--job")
    sets = options(command, "--set")
    job = load_job(name, sets)
    plain = load_job(name)
    assert job == plain if not sets else job != plain


def test_each_ready_job_is_described() -> None:
    """It has a row in the table, a link that leads to it, and a section."""
    assert set(re.findall(r"^\| \[`([a-z-]+)`\]\(\1\.toml\)", README, re.MULTILINE)) == set(ready_jobs())
    assert set(ready_jobs()) == set(SECTIONS)
    assert {path.stem for path in JOBS.glob("*.toml")} == set(ready_jobs())


@pytest.mark.parametrize("name", sorted(ready_jobs()))
def test_parameters_of_the_tables_exist(name: str) -> None:
    """Each key in the first column of a section's table is one of the job, `.short` forms included."""
    job = load_job(name)
    cells = re.findall(r"^\| (`[^|`]*\.[^|]*`) \|", SECTIONS[name], re.MULTILINE)
    assert cells
    for cell in cells:
        first, *further = re.findall(r"`([^`]+)`", cell)
        table = first.rpartition(".")[0]
        for key in [first, *(f"{table}{short}" for short in further)]:
            value_of(job, key)


def test_figures_of_the_readme_follow_from_the_jobs() -> None:
    """What the text says of distances, gains and sizes is what the files give."""
    listing, codec = load_job("listing"), load_job("codec")
    chains = [(name, chain) for name in ("asr", "restore", "music") for chain in load_job(name).chains().values()]
    for name, stage in [(name, stage) for name, chain in chains for stage in chain if hasattr(stage, "steps")]:
        if (name, stage.name) != ("restore", "timbre"):
            assert f"{1 + stage.k:g}^{stage.steps} = {(1 + stage.k) ** stage.steps:.2f}" in SECTIONS[name]
    frame_gain = listing.to_dict()["chain"][0]
    assert f"{20 * frame_gain['steps'] * 0.04139268515822507:.1f} dB" in SECTIONS["listing"]  # log10(1.1)
    assert f"{(codec.outputs[0].bitrate_kbps or 0) * 3600 / 8000:.1f} MB an hour" in SECTIONS["codec"]
