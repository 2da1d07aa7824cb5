"""Kaldi's and Lhotse's folders behind URLs: the tracks that the same folders give on disk."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import BUCKET, S3Server
from web_server import WebServer

from corpusdiff.errors import ManifestError
from corpusdiff.manifests import Reading, open_manifest, transport

KALDI = {
    "wav.scp": "rec1 audio/one 1.wav\nrec2 b.wav\n",
    "segments": "s1-a rec1 0.5 2.25\ns1-b rec2 0 -1\ns2-a rec1 3 4\n",
    "text": "s1-a hello\ns2-a zwei\n",
    "utt2spk": "s1-a s1\ns1-b s1\ns2-a s2\n",
    "spk2gender": "s1 f\ns2 m\n",
    "utt2lang": "s1-b de\n",
}
SOURCE = {"type": "file", "channels": [0], "source": "audio/a.wav"}
RECORDING = {"id": "r", "sources": [SOURCE], "sampling_rate": 16000, "num_samples": 32000, "duration": 2.0}
SAID = {"id": "s", "recording_id": "r", "start": 0.5, "duration": 1.0, "channel": 0, "text": "é", "custom": {"k": [1]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders and a file of recordings with a name of its own."""
    folder = tmp_path_factory.mktemp("manifests")
    for name in ("kaldi", "lhotse", "named", "audio"):
        (folder / name).mkdir()
    for name, text in KALDI.items():
        (folder / "kaldi" / name).write_text(text)
    (folder / "audio" / "x.wav").write_text("no manifest")
    for place, start in (("lhotse", ""), ("named", "my_")):
        for kind, item in (("recordings", RECORDING), ("supervisions", SAID)):
            with gzip.open(folder / place / f"{start}{kind}.jsonl.gz", "wt") as file:
                file.write(json.dumps(item) + "\n")
    return folder


@pytest.fixture(params=["s3", "web", "web without an index"])
def place(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of the folder."""
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,) * 11)
    transport._filesystem.cache_clear()
    if request.param != "s3":
        with WebServer(folder) as web:
            if "without" in request.param:
                web.switch(forbidden=("/kaldi/", "/lhotse/", "/named/"))
            yield web.url
        return
    with S3Server() as server:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        for path in (path for path in folder.rglob("*") if path.is_file()):
            key = quote(path.relative_to(folder).as_posix())
            assert server.request("PUT", f"/{BUCKET}/{key}", path.read_bytes()) == 200
        yield f"s3://{BUCKET}"
    transport._filesystem.cache_clear()


@pytest.mark.parametrize(
    ("name", "form", "n"),
    [
        ("kaldi/", None, 3),
        ("kaldi/wav.scp", None, 3),
        ("kaldi", "kaldi", 3),
        ("lhotse/", None, 1),
        ("lhotse/recordings.jsonl.gz", None, 1),
        ("named/my_recordings.jsonl.gz", None, 1),
        ("named/my_supervisions.jsonl.gz", "lhotse-supervisions", 1),
    ],
)
def test_the_same_tracks_as_on_disk(folder: Path, place: str, name: str, form: str | None, n: int) -> None:
    """Ids, places, stretches and all that is known; paths are below the URL."""
    reading = Reading(source_format=form)
    ours, disk = open_manifest(f"{place}/{name}", reading), open_manifest(str(folder / name), reading)
    here = list(disk.tracks())
    assert list(ours.tracks()) == here
    assert len(here) == n
    assert (ours.kind, ours.root) == (disk.kind, f"{place}{disk.root.removeprefix(str(folder))}")
    assert here[-1].fields
    assert ours.place(0).startswith(place)


def test_what_is_wrong_there_is_named(place: str) -> None:
    """A file of supervisions alone, and a folder that is none of Lhotse's."""
    with pytest.raises(ManifestError, match="names no file"):
        list(open_manifest(f"{place}/named/my_supervisions.jsonl.gz").tracks())
    with pytest.raises(ManifestError, match="no file of supervisions"):
        open_manifest(f"{place}/kaldi/", Reading(source_format="lhotse-supervisions"))
