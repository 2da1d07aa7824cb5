"""A coverage-guided fuzzer on our own parsers: only errors that they document may come out.

PYTHONPATH=tests python -m hostile.fuzz TARGET --seconds N
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["corpusdiff"], enable_loader_override=False):
    from corpusdiff.cluster.hosts_file import read_hosts
    from corpusdiff.control import Setting
    from corpusdiff.errors import ManifestError, ParameterError, StoreError, TrackError, UsageError
    from corpusdiff.expressions import Expression
    from corpusdiff.jobfile import load_job
    from corpusdiff.manifests.kaldi import KaldiManifest
    from corpusdiff.manifests.lhotse import LhotseManifest
    from corpusdiff.manifests.nemo import NemoManifest
    from corpusdiff.manifests.stretch import Wanted, fetch_stretch
    from corpusdiff.manifests.table import CsvManifest, ParquetManifest
    from corpusdiff.manifests.tars import WebDatasetManifest
    from corpusdiff.pipe import Pipe, PipeClosed
    from corpusdiff.planfile import load_plan
    from corpusdiff.store.codec import decode_chunk
    from corpusdiff.store.columns import decode_column
    from corpusdiff.store.layout import ArrayLayout
    from corpusdiff.store.pack import parse_index, with_crc
    from corpusdiff.store.record import parse_header, parse_record, record_key
    from corpusdiff.store.schema import parse_schema

FOLDER = Path(tempfile.mkdtemp(prefix="corpusdiff-fuzz-"))


def _manifest(reader: Callable[[str], object], name: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        path = FOLDER / name
        path.write_bytes(data)
        manifest = reader(str(path))
        for track in manifest.tracks():
            assert track.id, track
            assert "\n" not in track.id, track

    return parse


def _kaldi(data: bytes) -> None:
    parts = data.split(b"\x00", 3)
    for name, part in zip(("wav.scp", "segments", "text", "utt2spk"), parts, strict=False):
        (FOLDER / name).write_bytes(part)
    list(KaldiManifest(str(FOLDER)).tracks())


def _stretch(data: bytes) -> None:
    whole = data + bytes(2 << 20)
    file = fetch_stretch(lambda start, stop: whole[start:stop], len(whole), Wanted(0.5, 1.0, 100), None)
    if file is not None:
        file.close()


def _tar() -> bytes:
    """A sample of three small files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("a.wav", b"RIFF"), ("a.json", b'{"id": "x"}'), ("a.txt", b"hello")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()[:4096]


def _job(data: bytes) -> None:
    path = FOLDER / "job.toml"
    path.write_bytes(data)
    load_job(str(path))


def _set(data: bytes) -> None:
    load_job("asr", [data.decode("utf-8", "replace")])


def _expression(data: bytes) -> None:
    Expression(data.decode("utf-8", "replace")).holds({"snr_db": 3.0, "lang": "zh", "n": None, "tags": ["a"]})


def _record(data: bytes) -> None:
    key = record_key("0" * 64, 3)
    parse_header(data, key)
    parse_record(data, key)


def _metadata(data: bytes) -> None:
    for parse in (parse_schema, lambda d: ArrayLayout.parse(d, "x/zarr.json"), load_plan):
        try:
            parse(data)
        except StoreError:
            continue


def _chunks(data: bytes) -> None:
    for parse in (
        lambda d: decode_chunk(d, 4096),
        lambda d: parse_index(with_crc(d), max(1, len(d) // 16)),
        lambda d: decode_column(with_crc(d), "string"),
        lambda d: decode_column(with_crc(d), "float32"),
    ):
        try:
            parse(data)
        except (ValueError, TrackError):
            continue


def _pipe(data: bytes) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, data[:60000])
    os.close(theirs)
    pipe = Pipe(ours, os.open(os.devnull, os.O_WRONLY))
    try:
        while pipe.receive() is not None:
            pass
    finally:
        pipe.close()


def _hosts(data: bytes) -> None:
    path = FOLDER / "hosts.txt"
    path.write_bytes(data)
    read_hosts(str(path))


def _control(data: bytes) -> None:
    Setting.parse(data.decode("utf-8", "replace"))


#: Name of a target, what it parses, the errors that it documents, and what to start from.
#: Beginnings of a WAV file and of a FLAC file, one second of each.
_HEADS = (
    b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\x7d\0\0",
    bytes.fromhex("664c6143800000221000100000000e00100003e800f000003e80") + bytes(16) + b"\xff\xf8\xc5\x08\0",
)

TARGETS: dict[str, tuple[Callable[[bytes], object], tuple[type[Exception], ...], tuple[bytes, ...]]] = {
    "csv": (_manifest(CsvManifest, "m.csv"), (ManifestError,), (b'path,text,start,duration\na.wav,"x, y",1,2\n',)),
    "tsv": (_manifest(CsvManifest, "m.tsv"), (ManifestError,), (b"path\tid\na.wav\tone\n",)),
    "nemo": (
        _manifest(NemoManifest, "m.jsonl"),
        (ManifestError,),
        (b'{"audio_filepath": "a.wav", "duration": 1.5}\n',),
    ),
    "lhotse": (
        _manifest(LhotseManifest, "c.jsonl"),
        (ManifestError,),
        (b'{"id":"a","sources":[{"type":"file","channels":[0],"source":"a.wav"}],"sampling_rate":8000}\n',),
    ),
    "kaldi": (_kaldi, (ManifestError,), (b"a a.wav\n\x00u a 0 1\n\x00u hello\n\x00u s\n",)),
    "parquet": (_manifest(ParquetManifest, "m.parquet"), (ManifestError,), (b"PAR1",)),
    "tar": (_manifest(WebDatasetManifest, "m.tar"), (ManifestError,), (_tar(),)),
    "stretch": (_stretch, (), (_HEADS[0], _HEADS[1])),
    "job": (_job, (UsageError,), (b'description = "x"\n[source]\nsr = 8000\n[[chain]]\nstage = "level"\nk = -0.1\n',)),
    "set": (_set, (UsageError,), (b"source.sr=8000", b"chain.level.k=-0.5", b"output.flac.level=3")),
    "expression": (_expression, (ParameterError,), (b'snr_db < 10 and lang == "zh"', b"n in [1, 2] or not missing(n)")),
    "record": (_record, (StoreError,), (b"corpusdiff-record 1 00 1 0 0 1.5\nx",)),
    "metadata": (_metadata, (), (b'{"attributes": {"corpusdiff": {"jobs": [], "n_rows": 1, "columns": []}}}',)),
    "chunks": (_chunks, (), (b"fLaC" + bytes(38),)),
    "pipe": (_pipe, (PipeClosed,), (b'\x02\x00\x00\x00{}\x08\x00\x00\x00{"a": 1}',)),
    "hosts": (_hosts, (UsageError,), (b"node1 workers=4\nnode2 python=/usr/bin/python3 # x\n",)),
    "control": (_control, (ParameterError,), (b"denoise.mix=0.5",)),
}


def seeds(target: str) -> Iterator[Path]:
    """Files of a target's seeds."""
    folder = FOLDER / "seeds"
    folder.mkdir(exist_ok=True)
    for i, data in enumerate(TARGETS[target][2]):
        (folder / str(i)).write_bytes(data)
    yield folder


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=10)
    asked = parser.parse_args()
    parse, documented, _ = TARGETS[asked.target]

    def once(data: bytes) -> None:
        try:
            parse(data)
        except documented:
            return

    (folder,) = seeds(asked.target)
    options = [f"-max_total_time={asked.seconds}", "-max_len=4096", f"-artifact_prefix={FOLDER}/", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(folder)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
