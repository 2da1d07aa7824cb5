"""Objects behind S3 when the network fails, the store refuses, cannot decide, or overwrites."""

from __future__ import annotations

import pytest
from servers import BUCKET, race

from corpusdiff.errors import StoreError, UsageError
from corpusdiff.store import remote
from corpusdiff.store.objects import open_objects


def test_nothing_goes_up_in_parts(through, proxy):
    """A multipart upload overwrites when it is completed: there is none, however large the object."""
    proxy.requests.clear()
    assert through.create("large", (b"x" * 2**20 for _ in range(24)))
    assert not through.create("large", b"y" * 24 * 2**20)
    assert through.size("large") == 24 * 2**20
    assert {method for method, path in proxy.requests} == {"PUT", "HEAD"}
    assert not [path for _, path in proxy.requests if "upload" in path.lower()]


@pytest.mark.parametrize("fault", ["errors", "tear", "lose", "truncate", "conflict"])
def test_a_bad_network_changes_nothing(through, proxy, fault):
    """A third of the requests fail: every object is made, once, by one writer at most, and read whole."""
    through.create("known", b"k" * 50_000)
    with proxy.with_faults(**{fault: 0.3}):
        for key in ("a", "b", "c"):
            won = race(4, lambda number, key=key: through.create(key, bytes([number]) * 100_000))
            assert len(won) <= 1
            found = through.read(key)
            assert found == found[:1] * 100_000
            assert not won or found[0] == won[0]
            through.replace(key, b"r" * 100_000)
            assert through.read(key) == b"r" * 100_000
        with through.open("known") as file:
            assert file.read() == b"k" * 50_000
    assert proxy.injected[fault] > 0


def test_a_list_that_breaks_off_goes_on(through, proxy):
    """After the last key that came: each is there once, over more than one page of 1000."""
    keys = [f"c/{i:04d}" for i in range(1100)]
    race(8, lambda number: [through.create(key, b"x") for key in keys[number::8]] and False)
    with proxy.with_faults(truncate=0.25):
        for _ in range(5):
            assert list(through.list("c")) == keys
    assert proxy.injected["truncate"] > 1


def test_a_store_that_cannot_decide_is_asked_again(through, proxy, monkeypatch):
    """409 is no word on whether the object is there: where it stays so, nobody is told that it is."""
    monkeypatch.setattr(remote, "_PAUSES_S", (0.01,) * 12)
    with proxy.with_faults(conflict=0.5):
        assert all(through.create(f"k{number}", b"x") for number in range(10))
    with proxy.with_faults(conflict=1.0), pytest.raises(ConnectionError, match="409"):
        through.create("k", b"x")


@pytest.mark.parametrize("fault", ["errors", "tear", "lose"])
def test_a_bad_network_is_no_bad_store(proxy, fault):
    """The probe, whose answers get lost, still sees that the store keeps what it has."""
    for number in range(3):
        with proxy.with_faults(**{fault: 0.4}):
            open_objects(f"s3://{BUCKET}/bad/{fault}{number}")


def test_a_store_that_overwrites_is_refused(proxy):
    """Unless the user knows: the message says how."""
    out = f"s3://{BUCKET}/forgetful"
    with proxy.with_faults(forgetful=True):
        with pytest.raises(StoreError, match="overwrites an object.*--store-overwrites"):
            open_objects(out)
        assert open_objects(out, may_overwrite=True).create("k", b"x")
        assert list(open_objects(out, write=False).list(".tmp")) == []


def test_errors_say_what_to_do(proxy, credentials):
    """No such bucket, no rights, no credentials, no server, no URL: the key or place, and the remedy, in one line."""
    with pytest.raises(StoreError, match=r"s3://absent/out/.*no such bucket.*make it") as caught:
        open_objects("s3://absent/out")
    assert "\n" not in str(caught.value)
    objects = open_objects(f"s3://{BUCKET}/forbidden", write=False)
    with proxy.with_faults(forbid=True):
        for ask in (
            objects.read,
            objects.size,
            lambda key: objects.create(key, b""),
            lambda key: list(objects.list(key)),
        ):
            with pytest.raises(StoreError, match=rf"s3://{BUCKET}/forbidden/k: not allowed.*credentials") as caught:
                ask("k")
            assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="expected s3://BUCKET/PREFIX"):
        open_objects("s3:///out")
    for place in ("http://x/y", "memory://x", "file:///tmp/x", "S3X://x/y"):
        with pytest.raises(UsageError, match="OUT must be a folder, or behind s3://"):
            open_objects(place)


def test_opening_to_read_asks_nothing(proxy):
    """Nor does it make anything."""
    objects = open_objects(f"s3://{BUCKET}/unread", write=False)
    assert proxy.requests == []
    assert objects.size("k") is None
