"""One contract for objects on a disk and behind S3, with a real server."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import race

from corpusdiff.store.objects import Objects, blocks, open_objects

BIG = 3 * 2**20 + 17


@pytest.fixture(params=["local", "s3"])
def out(request, tmp_path) -> str:
    """Where to keep objects: a folder, or a bucket."""
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("bucket")


@pytest.fixture
def objects(out) -> Objects:
    """An empty store."""
    return open_objects(out)


def test_of_twenty_writers_one_wins(objects):
    """Exactly one is told that it made the object, and its bytes are all there."""
    for key in ("a", "b/c", "d"):
        won = race(20, lambda number, key=key: objects.create(key, bytes([number]) * 300_000))
        assert len(won) == 1
        assert objects.read(key) == bytes(won) * 300_000


def test_of_many_swaps_one_stays_whole(objects):
    """Whoever replaces last, no mixture is seen."""
    race(8, lambda number: objects.replace("k", bytes([number]) * 200_000))
    found = objects.read("k")
    assert found == found[:1] * 200_000


def test_create_and_replace(objects):
    """Create changes nothing that is there, replace does; blocks make one object."""
    assert objects.create("a/b", iter([b"fi", b"rst"]))
    assert not objects.create("a/b", b"second")
    assert objects.read("a/b") == b"first"
    objects.replace("a/b", iter([b"th", b"ird"]))
    assert objects.read("a/b") == b"third"
    objects.replace("new", b"")
    assert (objects.size("new"), objects.read("new")) == (0, b"")


def test_a_writer_that_fails_leaves_nothing(objects):
    """Blocks that break off make no object."""

    def failing():
        yield b"half"
        raise RuntimeError("the reader died")

    with pytest.raises(RuntimeError, match="the reader died"):
        objects.create("k", failing())
    assert objects.size("k") is None


def test_ranges_are_those_of_the_bytes(objects):
    """From either end and over both: as Python slices."""
    data = random.Random(1).randbytes(1000)
    objects.create("k", data)
    for start, size in [
        (0, 1000),
        (10, 5),
        (990, 50),
        (1000, 5),
        (0, 0),
        (-10, 10),
        (-10, 50),
        (-10, 3),
        (-2000, 2000),
    ]:
        begin = max(1000 + start, 0) if start < 0 else start
        assert objects.read_range("k", start, size) == data[begin : begin + size], (start, size)


def test_an_object_is_a_seekable_file(objects):
    """Every way to seek and read, and pyarrow's, which reads from the end."""
    data = random.Random(2).randbytes(BIG)
    objects.create("big", data)
    plain = io.BytesIO(data)
    with objects.open("big") as file:
        assert file.seekable()
        dice = random.Random(3)
        for _ in range(30):
            whence = dice.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
            here = {io.SEEK_SET: 0, io.SEEK_CUR: plain.tell(), io.SEEK_END: BIG}[whence]
            offset = dice.randrange(BIG) - here
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            n = dice.choice([1, 1000, 1 << 21])
            assert file.read(n) == plain.read(n)
        file.seek(0)
        assert file.read() == data
    assert b"".join(blocks(objects, "big")) == data


def test_a_parquet_file_is_read_in_place(objects, tmp_path):
    """As manifests are."""
    table = pa.table({"id": [f"track {i}" for i in range(10_000)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    objects.create("t.parquet", (tmp_path / "t.parquet").read_bytes())
    with objects.open("t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7).equals(table.slice(7000, 1000))


def test_a_list_has_every_key_once(objects):
    """Whole folders only, sizes None for what is none, nothing of the probe."""
    keys = {f"c/{i // 7}/{i}" for i in range(21)}
    for key in (*keys, "c2/x", "cc"):
        objects.create(key, b"x")
    assert sorted(objects.list("c")) == sorted(keys)
    assert sorted(objects.list("c/1")) == sorted(key for key in keys if key.startswith("c/1/"))
    assert list(objects.list("nothing")) == list(objects.list(".tmp")) == []
    assert (objects.size("c2/x"), objects.size("c"), objects.size("c/0/nothing")) == (1, None, None)


def test_delete_forgives(objects):
    """What is not there is no error; what was is gone, and can be made again."""
    objects.delete("k")
    objects.create("k", b"x")
    objects.delete("k")
    assert objects.size("k") is None
    for look in (objects.read, objects.open, lambda key: objects.read_range(key, -5, 5)):
        with pytest.raises(FileNotFoundError):
            look("k")
    assert objects.create("k", b"y")
    assert objects.sweep() == 0


@pytest.mark.parametrize("key", ["/etc/x", "a/../../b", ""])
def test_keys_stay_under_out(objects, key):
    """A key that leads out of OUT is refused, whatever is asked."""
    for ask in (objects.read, objects.size, objects.delete, lambda key: objects.create(key, b"")):
        with pytest.raises(ValueError, match="not a key"):
            ask(key)


@pytest.mark.parametrize("key", ["with space", "ü/日本", "a%2Fb", "a+b", "x#y?z=1&w", "'quoted\"", "tilde~!*()", "a=b"])
def test_any_name_is_a_key(objects, key):
    """What means something in a URL or a shell comes back as it was."""
    assert objects.create(f"n/{key}", b"x")
    assert not objects.create(f"n/{key}", b"y")
    assert list(objects.list("n")) == [f"n/{key}"]
    assert objects.read(f"n/{key}") == b"x"
