"""Copies of files behind URLs: order, sharing, bounds, and whatever servers and disks do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from needs import needs
from web_server import WebServer

from corpusdiff import fetch
from corpusdiff.errors import TrackError
from corpusdiff.fetch import Fetcher
from corpusdiff.manifests import download, transport
from corpusdiff.manifests.base import Track


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served: twenty small files."""
    path = tmp_path / "served"
    path.mkdir()
    rng = np.random.default_rng(1)
    for i in range(20):
        (path / f"{i}.wav").write_bytes(rng.bytes(2000 + i))
    return path


@pytest.fixture
def server(folder: Path) -> Iterator[WebServer]:
    """A server of that folder."""
    with WebServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between tries."""
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,) * 11)
    monkeypatch.setattr(fetch, "_MISSING_PAUSE_S", 0.01)


def tracks_of(folder: Path, names: list[str]) -> list[Track]:
    """Tracks of files, as a listing gives them."""
    return [
        Track(f"{n}", name, size=(folder / name).stat().st_size if (folder / name).exists() else None)
        for n, name in enumerate(names)
    ]


def read(path: str | None) -> bytes:
    """A copy's bytes."""
    assert path is not None
    return Path(path).read_bytes()


def test_copies_are_the_files(folder: Path, server: WebServer) -> None:
    """Every track's copy holds the file's bytes, by one request each, and nothing is left behind."""
    names = [f"{i}.wav" for i in range(20)]
    with Fetcher(tracks_of(folder, names), server.url) as fetcher:
        for name in names:
            with fetcher.copies() as copies:
                assert read(copies.files[name]) == (folder / name).read_bytes()
                assert not copies.changed
        last = copies.files[name]
    assert server.counts() == {f"/{name}": 1 for name in names}
    assert last is not None
    assert not Path(last).exists()


def test_local_tracks_are_left_alone(folder: Path) -> None:
    """Nothing is made, and nothing copied, where the files are at hand."""
    with Fetcher(tracks_of(folder, ["0.wav", "1.wav"]), str(folder)) as fetcher:
        for _ in range(2):
            with fetcher.copies() as copies:
                assert copies.files == {}


def test_segments_share_one_copy(folder: Path, server: WebServer) -> None:
    """Segments of one file, and those that come back to it soon, are one request."""
    names = ["0.wav", "0.wav", "1.wav", "0.wav", "2.wav", "1.wav"]
    with Fetcher(tracks_of(folder, names), server.url) as fetcher:
        for name in names:
            with fetcher.copies() as copies:
                assert read(copies.files[name]) == (folder / name).read_bytes()
    assert server.counts() == {"/0.wav": 1, "/1.wav": 1, "/2.wav": 1}


def test_ahead_but_not_too_far(folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next files come while the first is in use; copies, bytes and requests at once keep their bounds."""
    names = [f"{i}.wav" for i in range(20)]
    server.switch(latency_s=0.02)
    monkeypatch.setattr(fetch, "MOST_COPIES", 12)
    with Fetcher(tracks_of(folder, names), server.url) as fetcher, fetcher.copies():
        until = time.monotonic() + 60
        while len(server.requests) < 12 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(server.requests) == 12
    assert 1 < server.most <= fetch.IN_FLIGHT
    server.requests.clear()
    monkeypatch.setattr(fetch, "MOST_BYTES", 5000)
    with Fetcher(tracks_of(folder, names), server.url) as fetcher, fetcher.copies():
        time.sleep(0.2)
        assert set(server.counts()) == {"/0.wav", "/1.wav"}


def test_a_file_beyond_the_bound_comes_alone(folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file bigger than all copies together may be is fetched when its turn comes."""
    monkeypatch.setattr(fetch, "MOST_BYTES", 1000)
    names = [f"{i}.wav" for i in range(5)]
    with Fetcher(tracks_of(folder, names), server.url) as fetcher:
        for name in names:
            with fetcher.copies() as copies:
                assert read(copies.files[name]) == (folder / name).read_bytes()


def test_missing_and_forbidden_are_the_tracks_own(folder: Path, server: WebServer) -> None:
    """404 and 403 fail their track, naming the URL; the others go on."""
    names = ["0.wav", "none.wav", "1.wav", "2.wav"]
    server.switch(forbidden=("/1.wav",))
    with Fetcher(tracks_of(folder, names), server.url) as fetcher:
        with fetcher.copies():
            pass
        with pytest.raises(TrackError, match=rf"no file {server.url}/none\.wav") as missing, fetcher.copies():
            pass
        with pytest.raises(TrackError, match=rf"permission to read {server.url}/1\.wav") as forbidden, fetcher.copies():
            pass
        with fetcher.copies() as copies:
            assert read(copies.files["2.wav"]) == (folder / "2.wav").read_bytes()
    assert missing.value.reason == forbidden.value.reason == "missing"


def test_unknown_schemes_are_the_tracks_own(server: WebServer) -> None:
    """A URL that nothing reads fails its track."""
    with (
        Fetcher([Track("a", "ftp://host/a.wav")], server.url) as fetcher,
        pytest.raises(TrackError, match=r"ftp://host/a\.wav.*s3://") as refused,
        fetcher.copies(),
    ):
        pass
    assert refused.value.reason == "unsupported"


def test_other_hosts_that_are_not_there_are_the_tracks_own(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dead host among a manifest's URLs does not stop the run; the source's own does."""
    monkeypatch.setattr(transport, "_PAUSES_S", ())
    url = "http://no-such-host.invalid"
    with (
        Fetcher([Track("a", f"{url}/a.wav")], server.url) as fetcher,
        pytest.raises(TrackError, match="no such host"),
        fetcher.copies(),
    ):
        pass
    with Fetcher([Track("a", "a.wav")], url) as fetcher, pytest.raises(OSError, match="invalid"), fetcher.copies():
        pass


def test_a_failing_server_is_asked_again(folder: Path, server: WebServer) -> None:
    """With half of the requests failing and a third of the answers broken off, every copy is whole."""
    names = [f"{i}.wav" for i in range(20)]
    server.switch(errors=0.4, breaks=0.3)
    with Fetcher(tracks_of(folder, names), server.url) as fetcher:
        for name in names:
            with fetcher.copies() as copies:
                assert read(copies.files[name]) == (folder / name).read_bytes()
    assert len(server.requests) > 30


def test_a_server_that_stays_broken_is_no_tracks_fault(folder: Path, server: WebServer) -> None:
    """In the end it is an OSError that names the file, for the runner to try again."""
    server.switch(errors=1.0)
    with (
        Fetcher(tracks_of(folder, ["0.wav"]), server.url) as fetcher,
        pytest.raises(OSError, match=rf"{server.url}/0\.wav.*503"),
        fetcher.copies(),
    ):
        pass


def test_big_files_come_in_parts_and_go_on_where_they_broke(
    folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is asked for until it is there, and none that is there again."""
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    data = np.random.default_rng(2).bytes(20_500)
    (folder / "big.wav").write_bytes(data)
    server.switch(breaks=0.3)
    with Fetcher(tracks_of(folder, ["big.wav"]), server.url) as fetcher, fetcher.copies() as copies:
        assert read(copies.files["big.wav"]) == data
    ranges = [part for method, _, part in server.requests if method == "GET"]
    assert len(set(ranges)) == 21
    assert ranges == sorted(ranges, key=lambda part: int(part[6:].partition("-")[0]))
    assert len(ranges) < 63


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("part_bytes", [1000, 10**6])
def test_servers_without_ranges(
    folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch, sizes: bool, part_bytes: int
) -> None:
    """A server that knows no ranges, or no sizes either, gives the same bytes, whether they were listed or not."""
    monkeypatch.setattr(download, "PART_BYTES", part_bytes)
    server.switch(ranges=False, sizes=sizes)
    listed = tracks_of(folder, ["0.wav", "1.wav"])
    tracks = [listed[0], replace(listed[1], size=None)]
    with Fetcher(tracks, server.url) as fetcher:
        for track in tracks:
            with fetcher.copies() as copies:
                assert read(copies.files[track.path]) == (folder / track.path).read_bytes()
                assert not copies.changed


@pytest.mark.parametrize("size", [0, 1, 1999, 2001, 10**7])
def test_a_changed_file_is_taken_as_it_is(folder: Path, server: WebServer, size: int) -> None:
    """A file of another size than listed is fetched as it is now, and said to have changed."""
    (track,) = tracks_of(folder, ["0.wav"])
    with Fetcher([replace(track, size=size)], server.url) as fetcher, fetcher.copies() as copies:
        assert read(copies.files["0.wav"]) == (folder / "0.wav").read_bytes()
        assert copies.changed


def test_empty_files(folder: Path, server: WebServer) -> None:
    """A file without a byte is a copy without a byte, listed or not."""
    (folder / "empty.wav").write_bytes(b"")
    (track,) = tracks_of(folder, ["empty.wav"])
    for size in (0, None, 5):
        with Fetcher([replace(track, size=size)], server.url) as fetcher, fetcher.copies() as copies:
            assert read(copies.files["empty.wav"]) == b""


def test_no_mixture_of_two_versions(folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced while its parts are being fetched is fetched anew."""
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    old, new = b"o" * 5000, b"n" * 5000
    path = folder / "big.wav"
    path.write_bytes(old)
    asked = transport.read_range
    seen: list[int] = []

    def replaced_meanwhile(url: str, start: int, stop: int, halt: threading.Event) -> bytes:
        seen.append(start)
        if seen == [0, 1000, 2000]:
            path.write_bytes(new)
        return asked(url, start, stop, halt)

    monkeypatch.setattr(download, "read_range", replaced_meanwhile)
    with Fetcher(tracks_of(folder, ["big.wav"]), server.url) as fetcher, fetcher.copies() as copies:
        assert read(copies.files["big.wav"]) == new
    assert len(seen) == 10


def test_references_come_too(folder: Path, server: WebServer) -> None:
    """A far-end file is copied under the track's name for it; one that is missing does not fail the track yet."""
    tracks = [
        Track("a", "0.wav", fields={"far": "./1.wav"}),
        Track("b", "2.wav", fields={"far": f"{server.url}/3.wav"}),
        Track("c", "4.wav", fields={"far": "none.wav"}),
        Track("d", "5.wav"),
    ]
    with Fetcher(tracks, server.url, "far") as fetcher:
        with fetcher.copies() as copies:
            assert read(copies.files["1.wav"]) == (folder / "1.wav").read_bytes()
        with fetcher.copies() as copies:
            assert read(copies.files[f"{server.url}/3.wav"]) == (folder / "3.wav").read_bytes()
        with fetcher.copies() as copies:
            assert copies.files["none.wav"] is None
        with fetcher.copies() as copies:
            assert list(copies.files) == ["5.wav"]


def test_waiting_is_reported(folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that waits for a slow file says that it is alive."""
    monkeypatch.setattr(fetch, "_ALIVE_EVERY_S", 0.02)
    server.switch(latency_s=0.3)
    signs: list[None] = []
    with Fetcher(tracks_of(folder, ["0.wav"]), server.url) as fetcher, fetcher.copies(lambda: signs.append(None)):
        assert len(signs) > 3


def test_leaving_early_ends_the_downloads(folder: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that is given up waits for nothing and keeps no file open."""
    monkeypatch.setattr(transport, "_PAUSES_S", (60.0,) * 3)
    names = [f"{i}.wav" for i in range(20)]
    before = set(_unnamed_files())
    fetcher = Fetcher(tracks_of(folder, names), server.url)
    started = time.monotonic()
    with fetcher:
        with fetcher.copies():
            server.switch(errors=1.0)
        pool = fetcher._pool
    assert pool is not None
    pool.shutdown(wait=True)
    assert time.monotonic() - started < 30
    assert not set(_unnamed_files()) - before


def _unnamed_files() -> list[str]:
    names = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(number.readlink()))
        except FileNotFoundError:  # the listing's own
            continue
    return [name for name in names if "deleted" in name]


@needs("mount", root=True)
def test_no_room_for_a_copy(folder: Path, server: WebServer, tmp_path: Path) -> None:
    """A spool that is too small is said to be, with the remedy, and is no track's fault."""
    import subprocess

    spool = tmp_path / "small"
    spool.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(spool)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        for name, n in (("big.wav", 10**7), ("some.wav", 10**5)):
            (folder / name).write_bytes(bytes(n))
            with (
                Fetcher(tracks_of(folder, [name]), server.url, spool=str(spool)) as fetcher,
                pytest.raises(OSError, match=rf"no space .*{spool}.*--spool"),
                fetcher.copies(),
            ):
                pass
    finally:
        subprocess.run(["umount", str(spool)], check=True)
