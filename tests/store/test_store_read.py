"""Items give back what was committed, reading no more than they need."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from noted_reads import note_reads
from store_maker import FLAC, PCM, STREAM, Clip, contents, make_corpus, make_generation, spooled

from corpusdiff.encode import open_encoder
from corpusdiff.errors import StoreError, TrackError
from corpusdiff.specs import OutputSpec
from corpusdiff.store.cache import ByteCache
from corpusdiff.store.commit import commit_shard
from corpusdiff.store.decode import scale_into
from corpusdiff.store.finalise import finalise
from corpusdiff.store.objects import LocalObjects, open_objects
from corpusdiff.store.read import open as open_corpus
from corpusdiff.store.verify import verify

SHARDS = [
    [
        Clip("a/1", 5000, fields={"text": "naïve", "take": 2, "good": True, "x": 1.5, "tags": ["p"]}),
        Clip("a/2", 100, silent=True),
        Clip("a/3", 60_000),
    ],
    [Clip("b/1", 0, status="failed"), Clip("b/2", 9000)],
]
CLIPS = [clip for clips in SHARDS for clip in clips]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished corpus with three outputs."""
    out = tmp_path_factory.mktemp("corpus")
    make_corpus(out, SHARDS, [FLAC, PCM, STREAM])
    return out


def expected(clip: Clip) -> np.ndarray:
    """A clip's audio as float32."""
    return clip.samples.astype(np.float32) / np.float32(32768)


def test_audio_of_every_output(folder):
    """The primary and further lossless outputs decode to the samples; a stream comes byte for byte."""
    corpus = open_corpus(str(folder))
    assert corpus.outputs == ("flac", "pcm", "opus24")
    for index, clip in enumerate(CLIPS):
        if clip.status == "ok":
            item = corpus[index]
            assert item.audio.dtype == np.float32
            assert np.array_equal(item.audio, expected(clip))
            assert np.array_equal(corpus.item(index, output="pcm").audio, expected(clip))
            assert corpus.item(index, output="opus24").stream() == clip.stream


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (4095, 4097), (59_999, 60_000), (1000, None), (-5, None), (7, 7), (0, 10**9), (9, 3)],
)
def test_ranges_are_slices(folder, start, stop):
    """Reading a range equals slicing the whole."""
    item = open_corpus(str(folder)).by_id("a/3")
    assert np.array_equal(item.read(start, stop), expected(CLIPS[2])[:, start:stop])


def test_a_range_reads_its_chunks_only(folder, monkeypatch):
    """One index and one chunk are read for a short range, and the index not again."""
    item = open_corpus(str(folder)).by_id("a/3")
    item.read(0, 1)
    reads = note_reads(monkeypatch)
    item.read(100, 200)
    assert len(reads) == 1
    assert reads[0][1] < 4096 * 2
    item.read(4000, 4200)
    assert len(reads) == 2  # two chunks that lie side by side are one request


def test_opening_reads_no_column(folder, monkeypatch):
    """Length is known without reading a column, and one value reads one chunk of one column."""
    keys = []
    read = LocalObjects.read

    def noted(self, key):
        keys.append(key)
        return read(self, key)

    monkeypatch.setattr(LocalObjects, "read", noted)
    corpus = open_corpus(str(folder))
    assert len(corpus) == 5
    assert keys == ["data.zarr/tracks/zarr.json"]
    assert (corpus[1].sr, corpus[2].sr) == (16000, 16000)
    assert keys[1:] == ["data.zarr/tracks/sr/c/0"]


def test_what_an_item_says(folder):
    """Metrics, texts and fields come under their own names, with None where the manifest had nothing."""
    corpus = open_corpus(str(folder))
    item = corpus[0]
    assert (item.id, item.sr, item.n_channels, item.n_samples) == ("a/1", 16000, 1, 5000)
    assert item.fields == {"text": "naïve", "take": 2, "good": True, "x": 1.5, "tags": ["p"]}
    assert item.metrics["duration_s"] == pytest.approx(5000 / 16000)
    assert np.isnan(item.metrics["snr_db"])
    assert item.texts["loudness_method"] == "gated"
    assert corpus[1].fields == {"text": "", "take": None, "good": None, "x": None, "tags": None}
    assert "a/1" in repr(item)


def test_positions(folder):
    """Negative positions count from the end; others beyond it are an IndexError."""
    corpus = open_corpus(str(folder))
    assert corpus[-1].id == "b/2"
    with pytest.raises(IndexError, match="row 5 of a corpus of 5"):
        corpus[5]
    with pytest.raises(KeyError, match="no output 'mp3': this corpus has flac, pcm, opus24"):
        corpus.item(0, output="mp3")


def test_by_id(folder):
    """Every id finds its row, and no other does."""
    corpus = open_corpus(str(folder))
    for index, clip in enumerate(CLIPS):
        assert corpus.by_id(clip.id).index == index
    with pytest.raises(KeyError, match="no row of id 'a/9'"):
        corpus.by_id("a/9")


def test_a_failed_row_has_no_audio(folder):
    """Asking a failed row for audio raises what it failed of."""
    with pytest.raises(TrackError, match="b/1 has no audio: failed: decoded 3 of 7") as caught:
        open_corpus(str(folder))[3].audio  # noqa: B018
    assert caught.value.reason == "decode"


def test_the_table_as_arrow(folder):
    """The table has every row and column, with nulls for what the manifest left out."""
    table = open_corpus(str(folder)).table()
    assert table.num_rows == 5
    assert table["id"].to_pylist() == [clip.id for clip in CLIPS]
    assert table["take"].to_pylist() == [2, None, None, None, None]
    assert table["good"].to_pylist() == [True, None, None, None, None]
    assert table["x"].to_pylist() == [1.5, None, None, None, None]


def test_pickles_and_threads(folder):
    """A corpus travels to another process and is read from threads."""
    corpus = pickle.loads(pickle.dumps(open_corpus(str(folder))))
    indices = [0, 1, 2, 4] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: corpus[index].audio, indices))
    assert all(np.array_equal(a, expected(CLIPS[i])) for a, i in zip(found, indices, strict=True))


def test_damage_is_an_error_that_names_the_object(tmp_path):
    """A flipped bit in audio, index, column or metadata never becomes sound."""
    make_corpus(tmp_path, [[Clip("a", 5000)]], [FLAC])
    objects = open_objects(str(tmp_path))
    for key in contents(tmp_path, "data.zarr/audio/flac_16000hz_1ch", "data.zarr/tracks/offset/c"):
        good = objects.read(key)
        for place in (3, len(good) - 3):
            damaged = bytearray(good)
            damaged[place] ^= 16
            objects.replace(key, bytes(damaged))
            with pytest.raises(StoreError, match=key):
                open_corpus(str(tmp_path))[0].audio  # noqa: B018
        objects.replace(key, good)
    assert open_corpus(str(tmp_path))[0].audio.shape == (1, 5000)


def test_no_corpus(tmp_path):
    """A folder without a corpus is said to be one."""
    with pytest.raises(StoreError, match="no corpus here"):
        open_corpus(str(tmp_path))


def test_scales_to_full_scale_one():
    """int16 and left-justified int32 have full scale 1.0."""
    for samples in (np.array([-(2**15), 1], np.int16), np.array([-(2**31), 2**16], np.int32), np.float32([-1, 2**-15])):
        out = np.zeros(2, np.float32)
        scale_into(samples, out)
        assert out.tolist() == [-1.0, 2.0**-15]


def test_cache_stays_within_its_bytes():
    """The least recently used goes first, and a value larger than the limit is still served."""
    made = []

    def make(key: int) -> np.ndarray:
        made.append(key)
        return np.zeros(key, np.uint8)

    cache = ByteCache(make, 10)
    for key in (4, 5, 4, 3, 4, 5):
        assert len(cache[key]) == key
    assert made == [4, 5, 3, 5]
    assert len(cache[20]) == 20


def test_real_encoders_come_back_aligned(tmp_path):
    """What the encoders make of one sound is found again: FLAC to half a step, Opus sample-aligned."""
    specs = [
        OutputSpec("flac", "flac", bits=24, dither=False),
        OutputSpec("opus", "opus", bitrate_kbps=32.0),
    ]
    t = np.arange(30_011) / 16000
    sound = (0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t))[None].astype(np.float32)
    clip = Clip("sweep", sound.shape[1])
    plan = make_generation(tmp_path, [[clip]], [asdict(spec) for spec in specs])
    objects = open_objects(str(tmp_path))
    with spooled([clip], plan) as (rows, _), (tmp_path / "spool").open("wb") as file:
        for spec, output in zip(specs, rows[0]["outputs"], strict=True):
            chunks: list[list[int]] = []

            def sink(index: int, payload: bytes, chunks: list[list[int]] = chunks) -> None:
                chunks.append([index, file.tell(), len(payload)])
                file.write(payload)

            encoder = open_encoder(spec, 16000, 1, plan.chunk, clip.id, sink)
            encoder.write(sound)
            encoded = encoder.close()
            output |= {"size": encoded.size, "delay": encoded.delay, "chunks": chunks}
    commit_shard(objects, plan, 0, rows, str(tmp_path / "spool"), {})
    finalise(objects, [plan])
    corpus = open_corpus(str(tmp_path))
    assert np.abs(corpus[0].audio - sound).max() <= 2.0**-24
    decoded = corpus.item(0, output="opus").audio
    assert decoded.shape == sound.shape
    lags = [float(np.dot(sound[0, 500:-500], np.roll(decoded[0], -lag)[500:-500])) for lag in range(-9, 10)]
    assert np.argmax(lags) == 9
    assert np.array_equal(corpus.item(0, "opus").read(1000, 2000), decoded[:, 1000:2000])
    assert verify(str(tmp_path)).ok
