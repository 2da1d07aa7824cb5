"""One row on its way out: its audio as the bytes of a file, and what is known of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from corpusdiff import __version__
from corpusdiff.encode import encode_flac
from corpusdiff.encode.audiofile import write_audio
from corpusdiff.encode.tag_writer import tagged
from corpusdiff.encode.tags import Tags, read_tags
from corpusdiff.errors import TrackError
from corpusdiff.manifests.media import extension, is_media
from corpusdiff.specs import OutputSpec
from corpusdiff.stages.base import Audio
from corpusdiff.store.item import Item

#: Extensions of files by encoding.
EXTENSIONS = {"flac": "flac", "wav": "wav", "opus": "opus", "vorbis": "ogg", "mp3": "mp3"}

#: Fields of a manifest that say where audio was: not true of what is written here.
_PLACES = ("audio_filepath", "file_name", "duration", "offset", "start", "channel")

#: Why a file lacks the tags of its source, among what is known of a row.
NO_TAGS = "tags_missing"

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Sample:
    """One row of a corpus, ready to be written.

    Parameters
    ----------
    id : of the row
    path : of the recording that it was made of, as the manifest had it
    sr, n_channels, n_samples : of its audio, in Hz and samples per channel
    fields : the manifest's own, but those that said where the audio was
    metrics : numbers and words that were found, without those that are missing; rule, job and version
    encoding : of `data`: ``flac``, ``wav``, ``opus``, ``vorbis`` or ``mp3``
    data : a whole audio file; empty for a form that makes its own of `blocks`
    blocks : the audio, (n_channels, n) float32 each
    source : path of the recording that it was made of, for as long as the sample is the newest one; None where the
        form has no use for it, or it could not be had
    start_s : where in the recording it begins, in seconds
    """

    id: str
    path: str
    sr: int
    n_channels: int
    n_samples: int
    fields: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(repr=False)
    encoding: str
    data: bytes = field(repr=False)
    blocks: Callable[[], Iterator[Audio]] = field(repr=False)
    source: str | None = None
    start_s: float = 0.0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sr

    @property
    def extension(self) -> str:
        """Of the file that `data` is, without a dot."""
        return EXTENSIONS[self.encoding]


def stored_encoding(item: Item) -> str:
    """As what a row goes out when nobody says: its own encoding, FLAC for samples."""
    encoding = item.layout.encoding
    return "flac" if encoding == "pcm" else encoding


def make_sample(item: Item, encoding: str | None) -> Sample:
    """A row with its audio as a file.

    Parameters
    ----------
    item : of a row that is ok
    encoding : of the file; None for its own. Where the corpus holds just that, its bytes are copied. One that is not
        in `EXTENSIONS` leaves the file to the form of export

    Raises StoreError for damaged audio, TrackError for what the encoding cannot hold.
    """
    wanted = encoding or stored_encoding(item)
    known: dict[str, Any] = {name: value for name, value in item.metrics.items() if not np.isnan(value)}
    known |= {name: value for name, value in item.texts.items() if value}
    known |= {"rule": item["rule"], "job": item.corpus.job_digest, "version": __version__}
    return Sample(
        id=item.id,
        path=str(item["path"]),
        sr=item.sr,
        n_channels=item.n_channels,
        n_samples=item.n_samples,
        fields={name: value for name, value in item.fields.items() if name not in _PLACES and value is not None},
        metrics=known,
        encoding=wanted,
        data=_file(item, wanted) if wanted in EXTENSIONS else b"",
        blocks=lambda: _blocks(item),
        start_s=float(item["start_s"]),
    )


def provenance(sample: Sample) -> dict[str, str]:
    """What made the sample, as names and values of a file's tags."""
    return {f"corpusdiff_{name}": str(sample.metrics[name]) for name in ("version", "job", "rule")}


def with_tags(sample: Sample) -> Sample:
    """The sample with its source's tags, and with the job and version that made it, in its file.

    Its row says why where the source's tags could not be had.
    """
    tags, metrics = Tags(), sample.metrics
    try:
        if sample.source is None:
            raise TrackError("missing", "the source is not there any more, or lies inside a tar or a table")
        tags = read_tags(sample.source)
    except (TrackError, OSError) as error:
        metrics = {**metrics, NO_TAGS: str(error)}
    return replace(sample, data=tagged(sample.data, sample.encoding, tags, provenance(sample)), metrics=metrics)


def _file(item: Item, wanted: str) -> bytes:
    layout = item.layout
    if layout.lossy:
        return item.stream() if layout.encoding == wanted else _written(item, wanted, 16)
    if wanted == "flac" and layout.encoding == "flac":
        return item.flac() or encode_flac(item.samples(), item.sr, 5)
    if wanted == "flac" and layout.dtype != np.float32:
        return encode_flac(item.samples(), item.sr, 5)
    bits = {np.dtype(np.int16): 16, np.dtype(np.int32): 24}.get(layout.dtype, 32)
    return _written(item, wanted, min(bits, 24) if wanted == "flac" else bits)


def _written(item: Item, wanted: str, bits: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="corpusdiff-") as folder:
        path = Path(folder) / f"audio.{EXTENSIONS[wanted]}"
        lossless = wanted in {"flac", "wav"}
        output = OutputSpec(encoding="pcm", bits=bits, dither=False) if lossless else None
        write_audio(path, _blocks(item), item.sr, item.n_channels, bits if lossless else None, output, item.id)
        return path.read_bytes()


def _blocks(item: Item) -> Iterator[Audio]:
    """All of the audio; of a lossless output no more than a chunk is in memory."""
    layout = item.layout
    step = item.n_samples if layout.lossy else max(_BLOCK, layout.chunk)
    return (item.read(start, start + step) for start in range(0, item.n_samples, step))


def stem(row_id: str) -> str:
    """A row's id as the path of a file without its extension, which stays below the folder it is put in.

    >>> stem("speaker/001.flac"), stem("../a/./b.c"), stem("/etc/passwd"), stem("")
    ('speaker/001', 'a/b.c', 'etc/passwd', '_')
    """
    name = below(row_id)
    return name[: -len(extension(name))] if is_media(name) else name


def file_name(sample: Sample, *, whole_id: bool) -> str:
    """Where a tree has a sample: its id with the extension of its file.

    `whole_id` keeps the id's own extension too, for sources that hold ``a.wav`` beside ``a.mp3``.
    """
    return f"{below(sample.id) if whole_id else stem(sample.id)}.{sample.extension}"


def below(row_id: str) -> str:
    """A row's id as a path that stays below the folder it is put in.

    >>> below("../a/./b.c")
    'a/b.c'
    """
    return "/".join(part for part in PurePosixPath(row_id).parts if part not in {"/", "..", "."}) or "_"


def first_field(sample: Sample, names: tuple[str, ...]) -> Any:
    """The first of a sample's fields that is there, by names that are usual for it; None without one."""
    return next((sample.fields[name] for name in names if sample.fields.get(name) is not None), None)


#: Usual names of what is spoken, by whom, and in what language.
TEXT = ("text", "transcript", "transcription", "sentence", "normalized_text")
SPEAKER = ("speaker", "speaker_id", "spk", "client_id")
LANGUAGE = ("language", "lang", "locale")
