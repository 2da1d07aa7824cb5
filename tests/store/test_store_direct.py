"""The direct reader gives what Zarr gives, by few requests, on disks and far away."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from noted_reads import note_reads
from servers import BUCKET
from store_maker import FLAC, PCM, STREAM, Clip, make_corpus

from corpusdiff.encode import encode_flac, encode_pcm
from corpusdiff.encode.lossless import decode_flac_into
from corpusdiff.errors import StoreError, TrackError
from corpusdiff.store.arrays import ArrayReader, Stretch
from corpusdiff.store.keptfiles import MOST, KeptFiles
from corpusdiff.store.layout import ArrayLayout
from corpusdiff.store.objects import open_objects
from corpusdiff.store.pack import InnerChunk, PackedObject
from corpusdiff.store.read import open as open_corpus
from corpusdiff.store.spans import spans

CHUNK, INNER = 512, 4

#: What an array can hold: encoding, bits, channels.
KINDS = [
    ("flac", 16, 1), ("flac", 16, 2), ("flac", 24, 1), ("flac", 24, 3), ("pcm", 16, 1), ("pcm", 24, 2), ("pcm", 32, 1),
]  # fmt: skip


@dataclass
class Made:
    """An array of two rows, some of its inner chunks and one of its objects absent, and one cut short."""

    folder: Path
    encoding: str
    bits: int
    n_channels: int
    layout: ArrayLayout = field(init=False)

    def __post_init__(self):
        self.layout = ArrayLayout("x", self.encoding, self.bits, 5, 8000, self.n_channels, 0, 2, CHUNK, INNER)
        objects = open_objects(str(self.folder))
        objects.create(self.layout.metadata_key, self.layout.metadata())
        rng = np.random.default_rng(1)
        for row, number, present in [(0, 0, (0, 1, 3)), (0, 1, (0, 1, 2, 3)), (1, 1, (2,))]:
            spool, chunks = self.folder / "spool", []
            with spool.open("wb") as file:
                for inner in present:
                    payload = self._payload(rng, 300 if inner == 3 else CHUNK)
                    chunks.append(InnerChunk(inner, ((file.tell(), len(payload)),)))
                    file.write(payload)
            objects.create(self.layout.object_key(row, number), PackedObject(str(spool), chunks, INNER).blocks())

    def _payload(self, rng, n):
        samples = rng.uniform(-1, 1, (self.n_channels, n)).astype(np.float32)
        if self.bits != 32:
            samples = np.round(samples * 2 ** (self.bits - 1) * 0.9).astype(np.int32)
            samples = samples.astype(np.int16) if self.bits == 16 else samples << 8
        if self.encoding == "flac":
            return encode_flac(samples, 8000, 5)
        return encode_pcm(np.pad(samples, ((0, 0), (0, CHUNK - n))))


@pytest.fixture(scope="module", params=KINDS, ids=str)
def made(request, tmp_path_factory):
    """One of each kind, its reader and its first samples by Zarr."""
    made = Made(tmp_path_factory.mktemp("direct"), *request.param)
    plain = zarr.open_array(made.folder / made.layout.folder, mode="r")[:, :, : 3 * INNER * CHUNK]
    return ArrayReader(open_objects(str(made.folder), write=False), made.layout), plain


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 3 * INNER * CHUNK), st.integers(0, 2 * INNER * CHUNK)), max_size=6
    )
)
def test_any_stretches_are_those_of_zarr(made, wanted):
    """Several at once, in any order, overlapping, empty, over holes and objects that are absent; as floats too."""
    reader, plain = made
    stretches = [Stretch(row, min(start, stop), max(start, stop)) for row, start, stop in wanted]
    full_scale = {2: 2.0**15, 4: 2.0**31}[plain.itemsize] if plain.dtype.kind == "i" else 1.0
    for stretch, found, floats in zip(
        stretches, reader.read_many(stretches), reader.read_many(stretches, np.float32), strict=True
    ):
        expected = plain[stretch.row, :, stretch.start : stretch.stop]
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
        assert floats.dtype == np.float32
        assert np.array_equal(floats, (expected / full_scale).astype(np.float32))


@given(
    ranges=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 50)), max_size=20),
    gap=st.integers(0, 100),
)
def test_spans_hold_their_ranges_and_no_long_gap(ranges, gap):
    """Each range lies in the one span that names it, and spans are further apart than the gap."""
    found = spans(ranges, gap)
    assert sorted(number for span in found for number in span.members) == list(range(len(ranges)))
    for span in found:
        for number in span.members:
            start, size = ranges[number]
            assert span.start <= start < start + size <= span.stop
    assert all(a.stop + gap < b.start for a, b in pairwise(found))


CLIPS = [[Clip(f"{shard}/{i}", 3000 + 97 * i) for i in range(20)] for shard in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighty clips in four shards."""
    out = tmp_path_factory.mktemp("eighty")
    make_corpus(out, CLIPS, [FLAC, PCM, STREAM])
    return out


def expected(row):
    """A clip's audio as float32."""
    return CLIPS[row // 20][row % 20].samples / np.float32(32768)


@pytest.mark.parametrize("output", ["flac", "pcm"])
def test_several_rows_in_their_order(folder, output):
    """Whole tracks and stretches, one row twice, as single reads give them."""
    corpus = open_corpus(str(folder))
    rows = [79, 3, 41, 3, 0]
    for found, row in zip(corpus.read(rows, output=output), rows, strict=True):
        assert np.array_equal(found, expected(row))
    stretches = [(10, 20), (0, None), (-7, None), (5, 5), (2900, 10**6)]
    for found, row, stretch in zip(corpus.read(rows, stretches, output=output), rows, stretches, strict=True):
        assert np.array_equal(found, expected(row)[:, slice(*stretch)])
    assert corpus.read([]) == []
    with pytest.raises(ValueError, match="shorter"):
        corpus.read(rows, stretches[:2])


def test_neighbours_are_one_request(folder, monkeypatch):
    """Forty neighbours in two shards: an index and one range for each object; again: the ranges alone."""
    corpus = open_corpus(str(folder))
    reads = note_reads(monkeypatch)
    corpus.read(range(40))
    n_objects = len({key for key, _ in reads})
    assert len(reads) == 2 * n_objects
    reads.clear()
    corpus.read(range(40))
    assert len(reads) == n_objects


@pytest.mark.parametrize("output", ["flac", "pcm"])
def test_threads_have_their_own(folder, output):
    """Eight threads that read all of it at once get what one gets."""
    corpus = open_corpus(str(folder))
    orders = [np.random.default_rng(seed).permutation(80).tolist() for seed in range(8)]

    def right(order):
        singly = all(np.array_equal(corpus.item(row, output).audio, expected(row)) for row in order)
        return singly and all(map(np.array_equal, corpus.read(order, output=output), map(expected, order)))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, orders))


def test_kept_files_are_bounded(tmp_path):
    """However many are read, few stay open; each gives its bytes."""
    for i in range(3 * MOST):
        (tmp_path / f"{i}").write_bytes(b"%09d" % i)
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    files = KeptFiles(tmp_path.joinpath)
    for _ in range(2):
        for i in range(3 * MOST):
            assert files.read(f"{i}", -4, 4) == b"%04d" % i
    assert len(list(opened.iterdir())) - before == MOST
    with pytest.raises(FileNotFoundError):
        files.read("none", 0, 1)


def test_streams_of_any_size_leave_no_trace_in_the_next():
    """Long, short, longer than what is kept, from the middle: each decodes to its own samples."""
    rng = np.random.default_rng(4)
    sounds = [rng.integers(-9000, 9000, (1, n), np.int16) for n in (200_000, 500, 3_000_000, 70_000)]
    streams = [encode_flac(x, 8000, 0) for x in sounds]
    assert len(streams[2]) > 1 << 22
    for number in rng.integers(0, 4, 40):
        x = sounds[number]
        start = int(rng.integers(x.shape[1])) * int(rng.integers(2))
        out = np.full((1, 1000), 7, np.int16)
        decode_flac_into(streams[number], start, 1 << 22, out)
        part = x[:, start : start + 1000]
        assert np.array_equal(out[:, : part.shape[1]], part)
        assert not out[:, part.shape[1] :].any()


def test_damaged_streams_are_refused():
    """Longer than the chunk, of other channels, or not FLAC at all."""
    data = encode_flac(np.ones((1, 500), np.int16), 8000)
    for damaged, most, channels in [(data, 499, 1), (data, 500, 2), (data[:60], 500, 1), (b"nothing", 500, 1)]:
        with pytest.raises(TrackError, match="FLAC"):
            decode_flac_into(damaged, 0, most, np.zeros((channels, 500), np.int16))


def test_a_stream_cut_short_is_found_out():
    """Wherever it is cut, it does not go on into the longer one that was there before."""
    rng = np.random.default_rng(9)
    before = encode_flac(rng.integers(-9000, 9000, (1, 60_000), np.int16), 8000)
    data = encode_flac(rng.integers(-9000, 9000, (1, 30_000), np.int16), 8000)
    for stop in (*range(4, 200, 7), *rng.integers(200, len(data), 100).tolist()):
        for other in (before, data):
            decode_flac_into(other, 0, 1 << 18, np.zeros((1, 60_000), np.int16))
            with pytest.raises(TrackError, match="FLAC"):
                decode_flac_into(data[:stop], 0, 1 << 18, np.zeros((1, 30_000), np.int16))


def test_a_fork_reads_by_itself(folder):
    """A child's reading does not disturb its parent's, which shares open files with it."""
    corpus = open_corpus(str(folder))
    corpus[0].audio  # noqa: B018
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(corpus[row].audio, expected(row)) for row in range(80))
        os._exit(0 if same else 1)
    assert all(np.array_equal(corpus[row].audio, expected(row)) for row in range(80))
    assert os.waitpid(child, 0)[1] == 0


LATENCY_S = 0.05


@pytest.fixture
def far(proxy, folder):
    """The corpus in an object store, each request to which takes 50 ms."""
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}/out"
    there, here = open_objects(url), open_objects(str(folder), write=False)
    for key in here.list("data.zarr"):
        there.create(key, here.read(key))
    corpus = open_corpus(url)
    corpus.table(["row"])
    proxy.switch(latency_s=LATENCY_S)
    proxy.requests.clear()
    return corpus


def test_requests_of_a_far_store_go_out_together(far, proxy):
    """32 random tracks: at most an index and a range for each object, in the time of a few requests, not of 70."""
    columns = ("status", "n_samples", "array", "row", "offset", "size", "sr", "id", "n_channels", "delay")
    for column in columns:
        far.value(column, 0)
    proxy.requests.clear()
    rows = np.random.default_rng(0).permutation(80)[:32].tolist()
    started = time.monotonic()
    found = far.read(rows)
    took_s = time.monotonic() - started
    assert all(np.array_equal(x, expected(row)) for x, row in zip(found, rows, strict=True))
    gets = [
        path for method, path in proxy.requests if method == "GET" and "/audio/" in path and "zarr.json" not in path
    ]
    n_objects = len(set(gets))
    print(f"32 tracks at {LATENCY_S} s: {len(gets)} requests to {n_objects} objects in {took_s:.2f} s")
    assert len(gets) <= 2 * n_objects + 8  # ranges of an object may lie far apart
    assert took_s < len(gets) * LATENCY_S / 2 or len(gets) < 12


def test_a_crop_of_a_far_track_is_one_small_request(far, proxy):
    """After the index, one range of the chunks that hold it."""
    far.read([0])
    proxy.requests.clear()
    assert np.array_equal(far[19].read(100, 200), expected(19)[:, 100:200])
    assert len([path for method, path in proxy.requests if "/audio/" in path]) <= 2


def test_a_fork_is_told(far):
    """In place of waiting for ever for threads that the parent has."""
    child = os.fork()
    if child == 0:
        try:
            far.read([0])
        except StoreError as error:
            os._exit(0 if "spawn" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
