"""Which rule would take how many tracks: the first pass over a sample of a source."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from corpusdiff.describe import nothing_in
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.fetch import Fetcher
from corpusdiff.isolate import ChildDied, Stalled, close_children, own_child
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import USUAL, Reading, open_manifest
from corpusdiff.manifests.base import Manifest, Track
from corpusdiff.manifests.frozen import FrozenInfo, FrozenManifest, freeze
from corpusdiff.prepare import check_rules
from corpusdiff.shards import RunOptions
from corpusdiff.survey import listed

#: The seed of the sample: the same source gives the same one.
_SEED = 7


def explain(source: str, job_name: str, sets: Sequence[str], n_sample: int, reading: Reading = USUAL) -> dict[str, Any]:
    """How the tracks of a sample fall to the rules of a job, and what that says of all. Raises CorpusdiffError.

    Returns ``tracks`` of the source, ``sample`` taken of it, ``failed`` of these by reason, and per rule its condition,
    its ``share`` of the sample, about how many ``tracks`` of the source it would take, and an ``example``.
    """
    job = load_job(job_name, sets)
    manifest = open_manifest(source, reading, [job.source.reference_field])
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "manifest.parquet"
        info = freeze(listed(manifest), frozen, place=manifest.place)
        if info.n_tracks == 0:
            raise UsageError(nothing_in(manifest))
        check_rules(job, info.fields)
        tracks = _sample(frozen, info, n_sample)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = [*pool.map(lambda track: _rules_of(track, job, manifest), tracks)]
    close_children()
    return _counted(job, info.n_tracks, tracks, found)


def _sample(frozen: Path, info: FrozenInfo, n_sample: int) -> list[Track]:
    """Tracks spread at random, in their order."""
    rng = np.random.default_rng(_SEED)
    chosen = np.sort(rng.choice(info.n_tracks, min(n_sample, info.n_tracks), replace=False))
    with FrozenManifest(frozen) as rows:
        return [track for index in chosen for track in rows.rows(int(index), int(index) + 1)]


def _rules_of(track: Track, job: Job, manifest: Manifest) -> list[str] | TrackError:
    """The rules of a track's segments, or why it cannot be measured."""
    child = own_child(RunOptions(), {})
    child.configure(job.to_dict(), manifest.root)
    try:
        with Fetcher([track], manifest.root, job.source.reference_field) as fetcher, fetcher.copies() as copies:
            return [row["rule"] for row in child.measure(track, copies.files)]
    except TrackError as error:
        return error
    except (ChildDied, Stalled) as error:
        return TrackError("crash", str(error))


def _counted(job: Job, n_tracks: int, tracks: list[Track], found: list[list[str] | TrackError]) -> dict[str, Any]:
    pairs = [*zip(tracks, found, strict=True)]
    segments = [(track, rule) for track, rules in pairs if isinstance(rules, list) for rule in rules]
    counts = Counter(rule for _, rule in segments)
    conditions = {rule.name: rule.when for rule in job.rules}
    n_measured = sum(isinstance(rules, list) for rules in found)
    rules = [
        {
            "rule": name,
            "when": conditions.get(name, "no rule above holds"),
            "share": round(counts[name] / max(1, len(segments)), 4),
            "tracks": round(n_tracks * (n_measured / len(tracks)) * counts[name] / max(1, len(segments))),
            "example": next((track.id for track, rule in segments if rule == name), ""),
        }
        for name in job.chains()
    ]
    failed = Counter(rules.reason for rules in found if isinstance(rules, TrackError))
    return {"tracks": n_tracks, "sample": len(tracks), "failed": dict(failed), "rules": rules}


def explanation_lines(found: dict[str, Any]) -> Iterator[str]:
    """What `explain` found, for people."""
    width = max(len(rule["rule"]) for rule in found["rules"])
    yield f"{found['sample']} of {found['tracks']} tracks measured" + (
        f", {sum(found['failed'].values())} of them failed" if found["failed"] else ""
    )
    for rule in found["rules"]:
        example = f", e.g. {rule['example']}" if rule["example"] else ""
        yield f"{rule['rule']:>{width}}  {rule['share']:6.1%}  about {rule['tracks']} tracks{example}  ({rule['when']})"
