"""Objects are created once and whole, and errors say what to do."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from corpusdiff.errors import StoreError, UsageError
from corpusdiff.store.objects import LocalObjects, blocks, open_objects


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    """An empty store."""
    return open_objects(str(tmp_path / "out"))


def test_create_is_once_only(objects):
    """The first create wins, the second changes nothing and says so."""
    assert objects.create("a/b/c", b"first")
    assert not objects.create("a/b/c", b"second")
    assert objects.read("a/b/c") == b"first"


def test_blocks_make_one_object(objects):
    """An iterable of blocks becomes one object, and comes back in blocks."""
    objects.create("big", (bytes([i]) * 700_000 for i in range(4)))
    assert b"".join(blocks(objects, "big")) == b"".join(bytes([i]) * 700_000 for i in range(4))


def test_ranges_from_either_end(objects):
    """A range counts from the start or, negative, from the end, and never fails at the borders."""
    objects.create("k", bytes(range(10)))
    assert objects.read_range("k", 2, 3) == bytes([2, 3, 4])
    assert objects.read_range("k", -3, 3) == bytes([7, 8, 9])
    assert objects.read_range("k", -20, 20) == bytes(range(10))
    assert objects.read_range("k", 9, 5) == bytes([9])


def test_list_is_sorted_and_holds_no_temporary_file(objects):
    """Listing gives the keys under a folder, none for a folder that is not there."""
    for key in ("c/2", "c/10/x", "d/1"):
        objects.create(key, b"x")
    assert list(objects.list("c")) == ["c/10/x", "c/2"]
    assert list(objects.list("nothing")) == []
    assert objects.size("c/2") == 1
    assert objects.size("c/3") is None


def test_replace_swaps_and_delete_forgives(objects):
    """Replace makes or swaps; deleting what is not there is no error."""
    objects.replace("t", b"one")
    objects.replace("t", b"two")
    assert objects.read("t") == b"two"
    objects.delete("t")
    objects.delete("t")
    with pytest.raises(FileNotFoundError):
        objects.read("t")


def test_one_winner_among_threads(objects):
    """Of many threads that create one key, exactly one is told that it did."""
    start = threading.Barrier(8)
    results: list[tuple[int, bool]] = []

    def create(number: int) -> None:
        start.wait()
        results.append((number, objects.create("k", bytes([number]) * 100_000)))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number, created in results if created]
    assert len(winners) == 1
    assert objects.read("k") == bytes(winners) * 100_000


def test_failed_write_leaves_nothing(objects):
    """A writer that fails half way leaves neither object nor temporary file."""

    def failing():
        yield b"half"
        raise RuntimeError("reader died")

    with pytest.raises(RuntimeError, match="reader died"):
        objects.create("k", failing())
    assert objects.size("k") is None
    assert objects.sweep() == 0


@pytest.mark.parametrize(("number", "remedy"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "choose another OUT")])
def test_disk_trouble_names_the_remedy(objects, monkeypatch, number, remedy):
    """A full or read-only disk is a StoreError with what to do, and nothing half visible."""

    def broken(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreError, match=remedy):
        objects.create("k", b"data")
    monkeypatch.undo()
    assert objects.size("k") is None
    assert objects.sweep() == 0


def test_full_disk_is_a_store_error(tmp_path):
    """A device without space gives the error at once and keeps its cause."""
    objects = open_objects(str(tmp_path))
    with (
        pytest.raises(StoreError, match="disk is full") as caught,
        objects._explained("k"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert isinstance(caught.value.__cause__, OSError)


def test_out_without_hard_links_is_refused(tmp_path, monkeypatch):
    """Where link is not supported, opening for writing says so before any work is done."""

    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StoreError, match="no hard links"):
        open_objects(str(tmp_path))


def test_out_where_a_file_is_in_the_way(tmp_path):
    """A file in place of OUT is refused with its name."""
    (tmp_path / "out").write_text("x")
    with pytest.raises(UsageError, match="out: this is a file"):
        open_objects(str(tmp_path / "out"))


def test_reading_makes_nothing(tmp_path):
    """Opening for reading makes no folder."""
    open_objects(str(tmp_path / "absent"), write=False)
    assert not (tmp_path / "absent").exists()


def test_url_is_refused():
    """An OUT behind a scheme that cannot create objects is refused."""
    with pytest.raises(UsageError, match="http://bucket/x"):
        open_objects("http://bucket/x")


@pytest.mark.parametrize("key", ["/etc/x", "a/../../b", ""])
def test_keys_stay_under_out(objects, key):
    """A key that leads out of OUT is refused."""
    with pytest.raises(ValueError, match="not a key"):
        objects.create(key, b"")
