"""Two drivers that begin a corpus at once: whoever makes the plan, it is a plan of the manifest beside it."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import permutations

import pytest

from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.prepare import add_generation
from corpusdiff.store.generations import manifest_key, manifest_of, open_frozen, own_manifest_key, read_plan
from corpusdiff.store.objects import LocalObjects
from corpusdiff.store.verify import verify


class Listing:
    """A source of some tracks."""

    source = root = "/recordings"
    kind = "folder"

    def __init__(self):
        self.ignored = Counter()

    def place(self, index):
        return f"file {index}"


def tracks(n):
    """As a listing found them that saw `n` files."""
    return [Track(f"{i}.wav", f"{i}.wav", size=i, header_sr=16000, header_channels=1) for i in range(n)]


def begin(objects, n, earlier=()):
    """What a driver does that saw `n` files."""
    return add_generation(objects, list(earlier), Listing(), tracks(n), load_job("asr"), portable=False, spool=None)


class Paced(LocalObjects):
    """A store on which something else happens just before this driver's operation number `moment`."""

    def __init__(self, root, moment, other):
        super().__init__(root)
        self._left = moment
        self._other = other

    def _step(self):
        self._left -= 1
        if self._left == -1:
            self._other()

    def create(self, key, data):
        """As ever, but later."""
        self._step()
        return super().create(key, data)

    def replace(self, key, data):
        """As ever, but later."""
        self._step()
        super().replace(key, data)

    def size(self, key):
        """As ever, but later."""
        self._step()
        return super().size(key)


def agreed(objects):
    """The plan's number of tracks, once the manifest that its readers take is found to be the plan's own."""
    plan = read_plan(objects, 0)
    key = manifest_of(objects, plan)
    assert hashlib.sha256(objects.read(key)).hexdigest() == plan.manifest_digest
    with open_frozen(objects, plan) as manifest:
        assert len(manifest) == plan.n_tracks
    return plan.n_tracks


def stop():
    """The end of a driver."""
    raise ConnectionAbortedError("killed")


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize(("ours", "theirs"), [*permutations([5, 7]), (5, 5)])
@pytest.mark.parametrize("left", [None, 3], ids=["nothing-there", "a-manifest-there"])
def test_two_first_drivers(tmp_path, moment, ours, theirs, left):
    """At whatever step of the one the other comes: both take one plan, which fits its manifest, to the byte."""
    objects = LocalObjects(tmp_path)
    if left is not None:
        with pytest.raises(ConnectionAbortedError):
            begin(Paced(tmp_path, 1, stop), left)
    plans = []
    paced = Paced(tmp_path, moment, lambda: plans.append(begin(objects, theirs)))
    plans.append(begin(paced, ours))
    assert agreed(objects) in {ours, theirs}
    assert {plan.digest for plan in plans} == {read_plan(objects, 0).digest}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_driver_that_stops_half_way_and_another_source(tmp_path, stage):
    """The manifest that the first left is not the second's; the second plans its own, and the first's is an orphan."""
    objects = LocalObjects(tmp_path)
    with pytest.raises(ConnectionAbortedError):
        begin(Paced(tmp_path, stage, stop), 5)
    plan = begin(objects, 7)
    assert agreed(objects) == 7
    assert manifest_of(objects, plan) == own_manifest_key(0, plan.manifest_digest)
    report = verify(str(tmp_path), gc=True)
    assert report.ok, report.problems
    assert report.orphans == (manifest_key(0),)
    assert verify(str(tmp_path)).orphans == ()
    assert agreed(objects) == 7


def test_the_usual_place_where_nobody_is_in_the_way(tmp_path):
    """One driver, or one that comes again with the same listing, leaves one manifest."""
    objects = LocalObjects(tmp_path)
    begin(objects, 5)
    begin(objects, 5)
    assert sorted(objects.list("plan")) == ["plan/0000/manifest.parquet", "plan/0000/plan.json"]
    assert manifest_of(objects, read_plan(objects, 0)) == manifest_key(0)
