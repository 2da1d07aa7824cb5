"""Listings, manifests and headers behind URLs: what the same files on disk give."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from needs import needs
from servers import BUCKET, Proxy, S3Server
from web_server import WebServer, nginx

from corpusdiff.errors import CorpusdiffError, ManifestError, UsageError
from corpusdiff.manifests import Reading, heads, open_manifest, remote_listing, transport
from corpusdiff.manifests.base import Track, absolute_path, path_below
from corpusdiff.manifests.remote import CONCURRENCY, why_unreached, with_file_states
from corpusdiff.manifests.transport import FileState, open_file, state_of
from corpusdiff.probing import probe_many
from corpusdiff.shards import RunOptions

NAMES = [
    "A.wav", "a b.mp3", "a-b/1.wav", "a.wav", "a/1.wav", "a/b/c.FLAC", "b/1.wav", "b/c/1.wav", "b/c/2.ogg", "c/x.raw",
    "Grüße/音声.flac", "odd/%41+&=.wav", "~/z.wav", "t.txt", "b/n.txt", "README",
    ".hidden.wav", ".git/x.wav", ".git/y.wav", "b/.h/z.wav", "b/.k.wav",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of many names, each holding its own."""
    folder = tmp_path_factory.mktemp("names")
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[S3Server]:
    """An S3 server that lists seven keys at a time, with those files below ``some/where``."""
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "7"
    try:
        with S3Server() as server:
            for name in NAMES:
                data = (folder / name).read_bytes()
                assert server.request("PUT", f"/{BUCKET}/some/where/{quote(name)}", data) == 200
            assert server.request("PUT", f"/{BUCKET}/some/where/marker/") == 200
            assert server.request("PUT", f"/{BUCKET}/some/wherever.wav", b"beside") == 200
            yield server
    finally:
        del os.environ["MOTO_S3_DEFAULT_MAX_KEYS"]


@pytest.fixture
def proxy(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What the clients here talk to."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,) * 11)
    transport._filesystem.cache_clear()
    with Proxy(server.port, seed=5) as proxy:
        for name, value in proxy.env.items():
            monkeypatch.setenv(name, value)
        yield proxy
    transport._filesystem.cache_clear()


@pytest.fixture
def web(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """The files on the web."""
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,) * 11)
    with WebServer(folder) as web:
        yield web


#: What a folder is looked at for before it is listed: whether it is Kaldi's or Lhotse's.
MANIFESTS = ("/wav.scp", ".jsonl", ".jsonl.gz", "/tarred_audio_manifest.json")


def listing(source: str | Path) -> list[tuple[str, int | None]]:
    """Ids and sizes."""
    return [(track.id, track.size) for track in open_manifest(str(source)).tracks()]


@pytest.mark.parametrize("pattern", ["", "*.wav", "**/*.wav", "b/**", "*/1.*", "c/*.raw", "[ab]*/**/1.wav"])
def test_a_bucket_is_listed_as_a_folder(folder: Path, proxy: Proxy, pattern: str) -> None:
    """The same ids and sizes in the same order, over many pages; the same is ignored; no recording is asked for."""
    place = f"s3://{BUCKET}/some/where"
    ours = open_manifest(f"{place}/{pattern}".rstrip("/") if pattern else place + "/")
    disk = open_manifest(str(folder / pattern))
    there, here = list(ours.tracks()), list(disk.tracks())
    assert [(track.id, track.path, track.size) for track in there] == [(t.id, t.path, t.size) for t in here]
    assert ours.ignored == disk.ignored
    assert ours.kind == disk.kind
    assert ours.root == place + str(disk.root).removeprefix(str(folder))
    asked = [path for method, path in proxy.requests if method == "HEAD" or "list-type" not in path]
    assert not [path for path in asked if not path.endswith(MANIFESTS)]
    for track in there[:3]:
        assert state_of(absolute_path(track.path, ours.root)) == FileState(track.size, track.version)


def test_other_stores_are_listed_folder_by_folder(folder: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of stores that have no order of their own gives the same."""
    monkeypatch.setattr(remote_listing, "_is_unordered", lambda root: True)
    ours, disk = open_manifest(f"s3://{BUCKET}/some/where"), open_manifest(str(folder))
    assert [(t.id, t.size) for t in ours.tracks()] == [(t.id, t.size) for t in disk.tracks()]
    assert ours.ignored == disk.ignored


def test_a_web_index_is_listed_as_a_folder(folder: Path, web: WebServer) -> None:
    """The index pages of a server give the same ids; sizes are asked for afterwards, many at once."""
    ours, disk = open_manifest(f"{web.url}/"), open_manifest(str(folder))
    here = list(disk.tracks())
    assert [track.id for track in ours.tracks()] == [track.id for track in here]
    assert ours.ignored == disk.ignored
    web.switch(latency_s=0.05)
    stated = list(with_file_states(ours.tracks(), ours.root))
    assert [track.size for track in stated] == [track.size for track in here]
    assert all(track.version for track in stated)
    assert 2 < web.most <= CONCURRENCY
    assert listing(f"{web.url}/b/**/*.wav") == [("1.wav", None), ("c/1.wav", None)]


@needs("nginx")
def test_an_index_of_nginx(folder: Path, tmp_path: Path) -> None:
    """A server that people have: its index, its etags and its ranges."""
    shutil.copytree(folder, tmp_path / "www")
    with nginx(tmp_path / "www", tmp_path) as url:
        assert [track_id for track_id, _ in listing(f"{url}/")] == [track_id for track_id, _ in listing(folder)]
        stated = list(with_file_states(open_manifest(f"{url}/").tracks(), url))
        assert [track.size for track in stated] == [size for _, size in listing(folder)]
        for track in stated:
            assert transport.read_range(absolute_path(track.path, url), 1, 3) == track.id.encode()[1:3]


def test_single_files(proxy: Proxy, web: WebServer) -> None:
    """One file behind a URL is a corpus of one, with its size and version."""
    (track,) = open_manifest(f"s3://{BUCKET}/some/where/c/x.raw").tracks()
    assert (track.id, track.path, track.size) == ("x.raw", "x.raw", 7)
    assert track.version
    (track,) = open_manifest(f"{web.url}/a%20b.mp3").tracks()
    assert (track.id, track.path, track.size) == ("a b.mp3", f"{web.url}/a%20b.mp3", 7)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://bucket/none", "no such file or folder"),
        ("s3://none/x.wav", "no such file or folder"),
        ("s3://none", "no such bucket or folder"),
        ("s3://bucket/some/where/c", "1 .raw"),
        ("s3://bucket/some/where/*.flac", "no media files"),
        ("s3://buck*/x", "cannot stand for a bucket"),
        ("ftp://host/x", "s3://.*copy it here"),
        ("s3://bucket/some/where/none.jsonl", "no such file"),
    ],
)
def test_what_cannot_be_a_source(proxy: Proxy, source: str, said: str) -> None:
    """Missing and unknown sources are refused with what is expected."""
    with pytest.raises(ManifestError, match=said):
        list(open_manifest(source).tracks())


def test_refused_listings(proxy: Proxy) -> None:
    """A store that gives no permission is told from one where there is nothing."""
    proxy.switch(forbid=True)
    with pytest.raises(ManifestError, match=r"may not be listed.*credentials"):
        list(open_manifest(f"s3://{BUCKET}/some/where/").tracks())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that reads a scheme the error names the extra."""
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(UsageError, match=r"adlfs.*corpusdiff\[az\]"):
        open_manifest("az://container/x")


def test_whether_a_source_is_reached(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker says why it cannot read the source."""
    assert why_unreached(f"s3://{BUCKET}/some/where") is None
    assert "no file" in (why_unreached("s3://none/x") or "")
    assert why_unreached("https://host/folder") is None
    monkeypatch.setitem(sys.modules, "adlfs", None)
    assert "corpusdiff[az]" in (why_unreached("az://container/x") or "")


@pytest.mark.faults_short
def test_listings_survive_a_failing_store(folder: Path, proxy: Proxy) -> None:
    """Pages that fail or break off are asked for again, and none is taken twice."""
    with proxy.with_faults(errors=0.4, truncate=0.1):
        assert listing(f"s3://{BUCKET}/some/where") == listing(folder)
        assert proxy.injected["errors"] > 0


def test_a_list_out_of_order_is_refused(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not list in order would give another corpus the next time."""
    pages = remote_listing.Listing._pages
    monkeypatch.setattr(
        remote_listing.Listing, "_pages", lambda *given: sorted(pages(*given), key=lambda item: item["Size"])
    )
    with pytest.raises(ManifestError, match=r"out of order.*manifest"):
        list(open_manifest(f"s3://{BUCKET}/some/where/").tracks())


def write_manifests(folder: Path) -> None:
    """The same three rows in every form."""
    rows = [
        {"audio_filepath": "a.wav", "text": "x" * 5000},
        {"audio_filepath": "./b/../a b.mp3", "text": "ö"},
        {"audio_filepath": "s3://other/c.wav", "text": "z"},
    ]
    for suffix in ("jsonl", "json"):
        (folder / f"m.{suffix}").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for suffix, between in (("csv", ","), ("tsv", "\t")):
        lines = [between.join(("audio_filepath", "text")), *(between.join(row.values()) for row in rows)]
        (folder / f"m.{suffix}").write_text("\n".join(lines) + "\n")
    pq.write_table(pa.Table.from_pylist(rows), folder / "m.parquet")


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("ranges", [True, False])
def test_manifests_behind_urls(tmp_path: Path, suffix: str, ranges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are those of the file on disk; relative paths lie below the manifest's own URL."""
    write_manifests(tmp_path)
    monkeypatch.setattr(transport, "PART_BYTES", 2048)
    with WebServer(tmp_path) as web:
        web.switch(ranges=ranges)
        reading = Reading(["s3://other"])
        ours = open_manifest(f"{web.url}/m.{suffix}?token=1", reading)
        disk = open_manifest(str(tmp_path / f"m.{suffix}"), reading)
        there = list(ours.tracks())
        assert there == list(disk.tracks())
        assert ours.root == web.url
        assert [track.path for track in there] == ["a.wav", "a b.mp3", "s3://other/c.wav"]
        assert absolute_path(there[1].path, ours.root) == f"{web.url}/a%20b.mp3"
        assert ours.place(1).startswith(f"{web.url}/m.{suffix}?token=1:")


def test_big_manifests_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read as it goes, by ranges, never whole; a server that breaks off is asked again."""
    monkeypatch.setattr(transport, "PART_BYTES", 1 << 16)
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,) * 11)
    lines = [json.dumps({"audio_filepath": f"{i}.wav", "text": "x" * 100}) for i in range(5000)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    with WebServer(tmp_path) as web:
        tracks = open_manifest(f"{web.url}/m.jsonl").tracks()
        next(tracks)
        assert len(web.requests) < 5
        web.switch(breaks=0.3)
        assert sum(1 for _ in tracks) == 4999
        assert len({part for _, _, part in web.requests}) > 15


def test_a_manifest_that_shrinks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a manifest must not pass for a whole one."""
    monkeypatch.setattr(transport, "PART_BYTES", 1 << 10)
    path = tmp_path / "m.jsonl"
    path.write_text("".join(f'{{"audio_filepath": "{i}.wav"}}\n' for i in range(1000)))
    with WebServer(tmp_path) as web, open_file(f"{web.url}/m.jsonl") as file:
        file.read(10)
        path.write_text("")
        with pytest.raises(CorpusdiffError, match="became shorter"):
            file.read()


def test_paths_below_urls() -> None:
    """Relative names stay relative, what lies beside the root is a URL, and nothing lies above the host."""
    root = "s3://bucket/data"
    assert path_below("a/b c.wav", root) == "a/b c.wav"
    assert path_below("../data2/x.wav", root) == "s3://bucket/data2/x.wav"
    assert path_below("../../../x.wav", root) == "s3://bucket/x.wav"
    assert path_below("s3://bucket/data/x.wav", root) == "s3://bucket/data/x.wav"
    assert path_below("x.wav", root, f"{root}/clips") == "clips/x.wav"
    assert path_below("x.wav", "http://host") == "x.wav"
    assert absolute_path("a?b#c.wav", "https://host") == "https://host/a%3Fb%23c.wav"
    assert absolute_path("a?b#c.wav", root) == "s3://bucket/data/a?b#c.wav"


def test_states_of_files(web: WebServer, folder: Path) -> None:
    """What a listing told is kept unless it is asked again; a file that is not there stays unknown."""
    tracks = [Track("a", "a.wav", size=1, version="old"), Track("b", "A.wav"), Track("c", "none.wav")]
    first = list(with_file_states(tracks, web.url))
    assert first[0] == tracks[0]
    assert (first[1].size, first[2]) == (5, tracks[2])
    again = list(with_file_states(tracks, web.url, again=True))
    assert again[0].size == 5
    local = [replace(track, path=f"{web.url}/{track.path}") for track in tracks]
    assert [t.size for t in with_file_states([Track("l", "a.wav"), *local], str(folder))] == [5, 1, 5, None]
    web.switch(errors=1.0)
    with pytest.raises(CorpusdiffError, match="503.*nothing is planned"):
        list(with_file_states([tracks[1]], web.url))


def test_headers_of_real_files(corpora: Path) -> None:
    """Real files of all formats tell from their ends what they tell as a whole, most by one request."""
    folder = corpora / "formats"
    tracks = list(open_manifest(str(folder)).tracks())
    disk = list(probe_many(iter(tracks), str(folder), 2, RunOptions()))
    with WebServer(folder) as web:
        ours = list(probe_many(iter(tracks), web.url, 2, RunOptions()))
        n_requests = len(web.requests)
    assert ours == disk
    assert sum(track.header_sr is not None for track in ours) > len(tracks) // 2
    assert n_requests < 1.2 * len(tracks)


def test_ends_of_long_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched of a big file by what its beginning is: only that, its end too, or what follows a long tag."""
    size = 10 * 2**20
    starts = {
        b"RIFF....WAVEfmt " + bytes(20) + b"data": [0],
        b"RIFF....WAVEJUNK": [0, heads.FIRST_BYTES, size - heads.MORE_BYTES],
        b"OggS": [0, heads.FIRST_BYTES, size - heads.MORE_BYTES],
        b"....ftypM4A ": [0, heads.FIRST_BYTES, size - heads.MORE_BYTES],
        b"fLaC\x80\x00\x00\x22": [0],
        b"fLaC\x06\x10\x00\x00": [0, heads.FIRST_BYTES, 2**20 + 8, size - heads.MORE_BYTES],
        b"ID3\x03\x00\x00\x00\x40\x00\x00": [0, heads.FIRST_BYTES, 2**20 + 10, size - heads.MORE_BYTES],
        b"\xff\xfb\x90\x00": [0],
    }
    for start, expected in starts.items():
        asked = []

        def read(url: str, begin: int, end: int, halt: threading.Event, start: bytes = start) -> bytes:
            asked.append(begin)  # noqa: B023
            return (start + bytes(size - len(start)))[begin:end]

        monkeypatch.setattr(heads, "read_range", read)
        with heads.fetch_ends("s3://b/x", size, None, threading.Event()) as file:
            assert os.fstat(file.fileno()).st_size == size
            assert os.fstat(file.fileno()).st_blocks * 512 < 2**20
        assert asked == expected, start
