"""Writing the tuned job: the file that it came from, comments and order kept, with other values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.job import Job, diff_jobs
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.jobset import set_value
from corpusdiff.stages import registry
from corpusdiff.tuning.space import Changes


def write_job(path: str, name: str, sets: Sequence[str], changes: Changes, tuned: Job, remark: Sequence[str]) -> None:
    """Write the job so that loading it gives `tuned`.

    Parameters
    ----------
    path : file to write
    name, sets : the job that was tuned, as for `load_job`
    changes : what the search found
    tuned : what they make of it
    remark : lines of comment at the top

    Raises
    ------
    UsageError : Tomlkit is missing, or the file cannot be written
    CorpusdiffError : what was written is not that job
    """
    try:
        import tomlkit
    except ImportError as error:
        raise UsageError("tune needs Tomlkit: pip install 'corpusdiff[tune]'") from error
    origin = ready_jobs().get(name, Path(name))
    document = tomlkit.parse(origin.read_text(encoding="utf-8"))
    if "name" not in document:
        document["name"] = tuned.name
    if name not in ready_jobs():
        _move_paths(document, origin.parent.absolute(), None)
    for item in sets:
        set_value(document, item)
    for place, change in changes.items():
        table: Any = document
        for step in place:
            table = table[step]
        for key, value in change.items():
            table[key] = value
    target = Path(path)
    _move_paths(document, Path.cwd(), target.absolute().parent)
    lines = "".join(f"# {line}\n" for line in remark)
    try:
        target.write_text(lines + tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error
    _check(path, tuned)


def _check(path: str, tuned: Job) -> None:
    differences = diff_jobs(_with_real_paths(load_job(path)), _with_real_paths(tuned))
    if differences:
        raise CorpusdiffError(f"{path} is not the job that was found: {'; '.join(differences)}")


def _stages(document: Any) -> list[Any]:
    """All tables of stages."""
    chains = [document, *document.get("rule", [])]
    return [table for chain in chains for table in chain.get("chain", [])]


def _path_parameters(table: Any) -> tuple[str, ...]:
    """Those of a stage's parameters that are files."""
    names: tuple[str, ...] = getattr(registry.stage_class(table["stage"]), "path_parameters", ())
    return tuple(name for name in names if isinstance(table.get(name), str))


def _move_paths(document: Any, folder: Path, target: Path | None) -> None:
    """Make the names of files, relative to `folder`, absolute; or relative to `target`, where the job will lie."""
    for table in _stages(document):
        for name in _path_parameters(table):
            full = os.path.normpath(folder / table[name])
            table[name] = full if target is None else os.path.relpath(full, target)


def _with_real_paths(job: Job) -> dict[str, Any]:
    document = job.to_dict()
    _move_paths(document, Path.cwd(), None)
    return document
