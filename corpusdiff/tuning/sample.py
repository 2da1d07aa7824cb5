"""The tracks that a search listens to: a sample of the source, part of it kept for the check."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from corpusdiff.describe import nothing_in
from corpusdiff.errors import UsageError
from corpusdiff.job import Job
from corpusdiff.manifests import USUAL, Reading, open_manifest
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.frozen import FrozenManifest, freeze
from corpusdiff.prepare import check_rules
from corpusdiff.survey import listed

#: One track in so many is kept for the check.
CHECKED = 3

#: Fewer tracks than this are all searched on, and nothing is left to check with.
_FEWEST = 4


@dataclass(frozen=True)
class Sample:
    """Tracks in their order.

    Parameters
    ----------
    root : folder that their paths are relative to
    searched : on which the values are chosen
    checked : on which they are tried in the end; none where the sample is too small
    """

    root: str
    searched: tuple[Track, ...]
    checked: tuple[Track, ...]


def take_sample(
    source: str, job: Job, n_tracks: int, seed: int, most_s: float | None = None, reading: Reading = USUAL
) -> Sample:
    """Tracks of a source at random; the same seed gives the same ones. Raises UsageError.

    Parameters
    ----------
    source : anything that a run takes
    job : its rules must find the fields that they ask for
    n_tracks : of the sample
    seed : of the choice
    most_s : of a longer track only the beginning is taken
    reading : how to read the source, see `corpusdiff.manifests.Reading`
    """
    manifest = open_manifest(source, reading, [job.source.reference_field])
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "manifest.parquet"
        info = freeze(listed(manifest), frozen, place=manifest.place)
        if info.n_tracks == 0:
            raise UsageError(nothing_in(manifest))
        check_rules(job, info.fields)
        chosen = rng.permutation(info.n_tracks)[:n_tracks]
        with FrozenManifest(frozen) as rows:
            tracks = [_cut(rows.rows(int(i), int(i) + 1)[0], most_s) for i in chosen]
    n_checked = len(tracks) // CHECKED if len(tracks) >= _FEWEST else 0
    split = len(tracks) - n_checked
    return Sample(manifest.root, _ordered(tracks[:split]), _ordered(tracks[split:]))


def reference_of(track: Track, reference: str) -> Track | None:
    """The clean counterpart of a track: in a folder under the same name, or named by a field; None without one."""
    folder = Path(reference)
    if folder.is_dir():
        return replace(track, path=str((folder / track.path).absolute()), fields={})
    name = track.fields.get(reference)
    return replace(track, path=name, fields={}) if isinstance(name, str) and name else None


def _cut(track: Track, most_s: float | None) -> Track:
    if most_s is None:
        return track
    return replace(track, duration_s=min(track.duration_s or most_s, most_s))


def _ordered(tracks: list[Track]) -> tuple[Track, ...]:
    return tuple(sorted(tracks, key=lambda track: track.id))


def check_reference(reference: str, sample: Sample) -> None:
    """Refuse a reference that no track of the sample has. Raises UsageError."""
    tracks = sample.searched + sample.checked
    if all(reference_of(track, reference) is None for track in tracks):
        names = sorted({name for track in tracks for name in track.fields})
        raise UsageError(
            f"--reference {reference}: no such folder, and no such field of the manifest; "
            f"its fields are {', '.join(names) or 'none'}"
        )
