"""Videos with the corpus's sound: the source's file again, but for the audio track that the corpus was made of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath

from corpusdiff.encode.video import VIDEO, replace_sound
from corpusdiff.encode.video_times import has_picture
from corpusdiff.errors import UsageError
from corpusdiff.export.sample import Sample, below, provenance, stem
from corpusdiff.job import Job
from corpusdiff.plan import Plan
from corpusdiff.track import is_cut

_BLOCK_BYTES = 1 << 20

#: Container of videos that came in one that none is written of (AVI, FLV, transport streams).
_OTHERS = ".mkv"


def video_name(sample: Sample, *, whole_id: bool) -> str:
    """Where the video of a row goes: its id, in the container of its source where that can be written.

    `whole_id` keeps the id's own extension too where it is another one.
    """
    container = PurePosixPath(sample.path).suffix.lower()
    container = container if container in VIDEO else _OTHERS
    name = below(sample.id)
    return name if whole_id and name.endswith(container) else f"{name if whole_id else stem(sample.id)}{container}"


def check_job(plan: Plan) -> None:
    """Refuse a corpus whose sound the picture would not follow. Raises UsageError."""
    job = Job.from_dict(plan.job)
    if job.source.speed != 1.0 or job.source.tempo != 1.0 or is_cut(job):
        raise UsageError(
            f"--to video: job {job.name} cut the recordings or changed their speed, and the picture would not follow; "
            "make a corpus with a job that does not (video)"
        )


def video_blocks(sample: Sample, name: str) -> Iterator[bytes]:
    """The bytes of the video of that name, made on the local disk first.

    Raises UsageError where the source is gone or has no picture, TrackError where its streams do not fit.
    """
    if sample.source is None:
        raise UsageError(
            f"{sample.id}: the video that it was made of is not where it was; put it back, or leave it out with --where"
        )
    if not has_picture(sample.source):
        raise UsageError(f"{sample.id}: there is no picture in it; leave it out with --where, or export --to files")
    with tempfile.TemporaryDirectory(prefix="corpusdiff-") as folder:
        target = Path(folder) / f"video{PurePosixPath(name).suffix}"
        replace_sound(
            sample.source, str(target), sample.blocks(), sample.sr, sample.n_channels, Fraction(sample.start_s),
            provenance(sample),
        )  # fmt: skip
        with target.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
