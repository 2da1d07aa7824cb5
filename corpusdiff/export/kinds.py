"""The forms in which a corpus goes out. Each writes parts on the workers, and an index of all parts at the end.

A part is written from its samples in order, as objects and as one JSON row for each sample; the index is made of all
rows, in order, as a stream.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from corpusdiff.errors import UsageError
from corpusdiff.export.kaldi_further import further_files
from corpusdiff.export.lhotse import cut_of, recording_of
from corpusdiff.export.sample import SPEAKER, TEXT, Sample, file_name, first_field
from corpusdiff.export.videos import video_blocks, video_name

#: What is written: key below DEST, and its bytes in blocks.
Objects: TypeAlias = Iterator[tuple[str, Iterable[bytes]]]
Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Part:
    """Where a part stands.

    Parameters
    ----------
    number, n_parts : which of how many
    dest : absolute path or URL of the export
    whole_id : whether file names keep the id's own extension
    columns : types of the manifest's fields by name: ``str``, ``int``, ``float``, ``bool`` or ``json``
    """

    number: int
    n_parts: int
    dest: str
    whole_id: bool
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """One form of export.

    Parameters
    ----------
    what : in words, for ``--help`` and messages
    encoding : of the audio; None for the corpus's own
    write : writes a part: its objects, and adds to its rows
    index : makes what describes all parts; None for nothing
    tags : whether its files carry the tags of the recordings that they were made of
    of_source : whether it is made of those recordings' files too
    packed : whether a part is a file; else it may be of any size
    """

    what: str
    encoding: str | None
    write: Callable[[Iterable[Sample], Part, list[Row]], Objects]
    index: Callable[[Rows, str], Objects] | None = None
    tags: bool = False
    of_source: bool = False
    packed: bool = False


def _tree(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    """A file for each sample, under its id."""
    for sample in samples:
        name = f"audio/{file_name(sample, whole_id=part.whole_id)}"
        yield name, [sample.data]
        rows.append(_known(sample) | {"audio_filepath": name})


def _videos(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    """The source's videos with the corpus's sound."""
    for sample in samples:
        name = f"video/{video_name(sample, whole_id=part.whole_id)}"
        yield name, video_blocks(sample, name)
        rows.append(_known(sample) | {"audio_filepath": name})


def _nemo_index(rows: Rows, _dest: str) -> Objects:
    """NeMo's manifest; its paths are relative to it."""
    yield "manifest.jsonl", map(_line, rows())


def _audiofolder_index(rows: Rows, _dest: str) -> Objects:
    """Hugging Face's metadata, beside the folder of the files."""
    renamed = ({"file_name": row["audio_filepath"], **_without(row, "audio_filepath")} for row in rows())
    yield "metadata.jsonl", map(_line, renamed)


def _lhotse_index(rows: Rows, dest: str) -> Objects:
    """Recordings inside cuts, with absolute paths, as Lhotse reads them from anywhere."""
    cuts = (cut_of(row, recording_of(row, "file", f"{dest}/{row['audio_filepath']}")) for row in rows())
    yield "cuts.jsonl.gz", _gzipped(map(_line, cuts))


def _shar(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    """Lhotse Shar: cuts, and a tar of their recordings in the same order."""
    cuts: list[bytes] = []

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            row = _known(sample)
            recording = recording_of(row, "shar", "")
            cuts.append(_line(cut_of(row, recording)))
            yield f"{sample.id}.{sample.extension}", sample.data
            yield f"{sample.id}.json", json.dumps(recording, ensure_ascii=False).encode()
            rows.append({"id": sample.id})

    yield f"recording.{part.number:06d}.tar", _tarred(members())
    yield f"cuts.{part.number:06d}.jsonl.gz", _gzipped(cuts)


def _webdataset(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    """WebDataset: the members of a sample stand together under one key, in which a dot would end the key."""

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            folder, _, name = sample.id.rpartition("/")
            key = "/".join(filter(None, (folder, name.replace("%", "%25").replace(".", "%2E"))))
            known = _known(sample)
            yield f"{key}.{sample.extension}", sample.data
            yield f"{key}.json", json.dumps(known, ensure_ascii=False).encode()
            text = first_field(sample, TEXT)
            if text is not None:
                yield f"{key}.txt", str(text).encode()
            rows.append({"id": sample.id})

    yield f"{part.number:06d}.tar", _tarred(members())


def _nemo_tarred(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    """NeMo's tarred dataset: flat names, which the manifest's rows give with the number of their tar."""

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            name = f"{quote(sample.id, safe=' ')}.{sample.extension}".replace("/", "%2F")
            yield name, sample.data
            rows.append(_known(sample) | {"audio_filepath": name, "shard_id": part.number})

    yield f"audio_{part.number}.tar", _tarred(members())


def _nemo_tarred_index(rows: Rows, _dest: str) -> Objects:
    yield "tarred_audio_manifest.json", map(_line, rows())


def _kaldi(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    for sample in samples:
        if sample.n_channels != 1:
            raise UsageError(
                f"{sample.id} has {sample.n_channels} channels, and an entry of wav.scp has one: run the job with "
                "--set source.channels=1, or export another form"
            )
        name = f"audio/{file_name(sample, whole_id=part.whole_id)}"
        yield name, [sample.data]
        rows.append(_known(sample) | {"audio_filepath": name})


def _kaldi_index(rows: Rows, dest: str) -> Objects:
    """Kaldi's files, sorted as the C locale does. Utterances begin with their speaker, so that both sort alike."""
    entries = sorted(_kaldi_entry(row, dest) for row in rows())
    yield "wav.scp", (f"{utterance} {path}\n".encode() for utterance, path, *_ in entries)
    yield "utt2dur", (f"{utterance} {duration!r}\n".encode() for utterance, _, _, duration, _ in entries)
    yield "utt2spk", (f"{utterance} {speaker}\n".encode() for utterance, _, speaker, *_ in entries)
    texts = [(utterance, text) for utterance, *_, text in entries if text is not None]
    if texts:
        yield "text", (f"{utterance} {text}\n".encode() for utterance, text in texts)
    yield from further_files((_kaldi_entry(row, dest)[0], row) for row in rows())
    of_speakers: dict[str, list[str]] = {}
    for utterance, _, speaker, *_ in entries:
        of_speakers.setdefault(speaker, []).append(utterance)
    yield "spk2utt", (f"{speaker} {' '.join(of_speakers[speaker])}\n".encode() for speaker in sorted(of_speakers))


def _kaldi_entry(row: Row, dest: str) -> tuple[str, str, str, float, str | None]:
    utterance = _word(row["id"])
    speaker = _word(str(next((row[name] for name in SPEAKER if row.get(name)), "")))
    if speaker and not utterance.startswith(speaker):
        utterance = f"{speaker}-{utterance}"
    text = next((str(row[name]) for name in TEXT if row.get(name) is not None), None)
    one_line = None if text is None else " ".join(text.split())
    return utterance, f"{dest}/{row['audio_filepath']}", speaker or utterance, row["duration"], one_line


def _word(text: str) -> str:
    """A text without the white space that would end it in Kaldi's files."""
    return "".join(quote(char) if char.isspace() else char for char in text)


def _parquet(samples: Iterable[Sample], part: Part, rows: list[Row]) -> Objects:
    from corpusdiff.export.parquet import parquet_bytes

    known = [(_known(sample), sample) for sample in samples]
    name = f"data/train-{part.number:05d}-of-{part.n_parts:05d}.parquet"
    yield name, [parquet_bytes(known, part.columns)]
    rows.extend({"id": sample.id} for _, sample in known)


def _known(sample: Sample) -> dict[str, Any]:
    """A sample's row: what is true of the file, then the manifest's own fields, then metrics under one key."""
    own = {
        "id": sample.id,
        "duration": sample.duration,
        "sampling_rate": sample.sr,
        "num_samples": sample.n_samples,
        "num_channels": sample.n_channels,
    }
    fields = {name: value for name, value in sample.fields.items() if name not in own}
    return own | fields | {"corpusdiff": dict(sample.metrics)}


def _without(row: Row, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _gzipped(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Equal lines give equal bytes: the header holds no time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        for line in lines:
            file.write(line)
            if buffer.tell() > 1 << 20:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()


def _tarred(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A tar in blocks. Equal members give equal bytes."""
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield data
        yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(tarfile.RECORDSIZE)


KINDS: dict[str, Kind] = {
    "files": Kind("audio files under their ids, and a manifest", None, _tree, _nemo_index, tags=True),
    **{
        name: Kind(f"the same as {name} files", encoding, _tree, _nemo_index, tags=True)
        for name, encoding in (("flac", "flac"), ("wav", "wav"), ("opus", "opus"), ("mp3", "mp3"), ("ogg", "vorbis"))
    },
    "video": Kind("the source's videos with the corpus's sound", "video", _videos, _nemo_index, of_source=True),
    "nemo": Kind("files and NeMo's manifest", None, _tree, _nemo_index),
    "nemo-tarred": Kind("NeMo's tarred dataset", None, _nemo_tarred, _nemo_tarred_index, packed=True),
    "lhotse": Kind("files and Lhotse's cuts", None, _tree, _lhotse_index),
    "shar": Kind("Lhotse Shar: cuts and tars", None, _shar, packed=True),
    "webdataset": Kind("WebDataset tars", None, _webdataset, packed=True),
    "kaldi": Kind("files and a Kaldi data folder", None, _kaldi, _kaldi_index),
    "audiofolder": Kind("Hugging Face's audiofolder", None, _tree, _audiofolder_index),
    "parquet": Kind("Parquet with the audio inside, as Hugging Face datasets has it", None, _parquet, packed=True),
}
