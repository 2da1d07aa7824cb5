"""PyTorch reads a corpus: each track once an epoch, over workers and ranks; crops and batches of like length."""

from __future__ import annotations

import doctest
import os
import pickle
import signal

import numpy as np
import pytest
import soundfile as sf
from noted_reads import note_reads
from servers import BUCKET, S3Server

import corpusdiff
from corpusdiff.driver import execute
from corpusdiff.errors import StoreError, UsageError
from corpusdiff.request import RunRequest
from corpusdiff.store.objects import open_objects

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from corpusdiff import training  # noqa: E402
from corpusdiff.training import CorpusDataset, CorpusStream, LengthBatches, pad_collate  # noqa: E402

N = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sixty short tracks in several shards, and a long one."""
    folder = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(7)
    (folder / "in").mkdir()
    for i in range(N):
        seconds = 30 if i == 5 else rng.uniform(0.3, 2)
        sf.write(folder / "in" / f"{i:03d}.wav", 0.1 * rng.standard_normal(int(8000 * seconds)), 8000)
    request = RunRequest(str(folder / "in"), str(folder / "out"), job="listing", cluster="none", shard_s=10)
    execute(request)
    return corpusdiff.open(str(folder / "out"))


def ids(loader):
    """All that a loader gives."""
    return [track for batch in loader for track in (batch["id"] if isinstance(batch["id"], list) else [batch["id"]])]


def test_tracks_by_index(corpus):
    """Audio, rate, id and columns as the corpus has them."""
    dataset = corpus.torch(columns=["duration_s", "status"])
    assert len(dataset) == N
    example = dataset[3]
    assert example["audio"].dtype == torch.float32
    assert np.array_equal(example["audio"].numpy(), corpus[3].audio)
    assert (example["id"], example["sr"], example["index"], example["status"]) == (corpus[3].id, corpus[3].sr, 3, "ok")


def test_conditions_and_columns_that_are_not_there(corpus):
    """Rows are chosen as `table --where` does it; what is not there is refused."""
    assert corpus.torch("duration_s > 20").rows.tolist() == [5]
    with pytest.raises(UsageError, match="fulfils duration_s > 99"):
        corpus.torch("duration_s > 99")
    with pytest.raises(UsageError, match="no column speaker"):
        corpus.torch(columns=["speaker"])


def test_crops_read_their_chunks_only(corpus, monkeypatch):
    """A stretch of the asked length at a place of its own in every epoch, and of a long track a few chunks."""
    dataset = corpus.torch(crop_s=0.5)
    first = dataset[5]["audio"]
    assert first.shape[1] == round(0.5 * corpus[5].sr)
    assert torch.equal(first, dataset[5]["audio"])
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[5]["audio"])
    whole = corpus[5].audio
    starts = np.flatnonzero(np.isclose(whole[0], float(first[0, 0])))
    assert any(np.array_equal(whole[:, s : s + first.shape[1]], first.numpy()) for s in starts)
    read = note_reads(monkeypatch)
    corpus[5].audio  # noqa: B018
    bytes_per_chunk = sum(n_bytes for _, n_bytes in read) / (corpus[5].n_samples / corpus[5].layout.chunk)
    for epoch in range(20):
        dataset.set_epoch(epoch)
        read.clear()
        dataset[5]
        assert 1 <= len(read) <= 2  # two where the crop lies over the border of two objects
        assert sum(n_bytes for _, n_bytes in read) < 2.2 * bytes_per_chunk


def partition(corpus, n_ranks, n_workers, *, context=None, **options):
    """Ids of an epoch, by rank."""
    found = []
    for rank in range(n_ranks):
        stream = CorpusStream(corpus.torch(), buffer=16, rank=rank, n_ranks=n_ranks, **options)
        loader = DataLoader(stream, batch_size=None, num_workers=n_workers, multiprocessing_context=context)
        found.append(ids(loader))
    return found


@pytest.mark.parametrize(("context", "n_workers"), [("fork", 4), ("spawn", 2), ("forkserver", 2)])
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_stream_gives_each_track_once(corpus, context, n_workers, n_ranks):
    """Four workers and two ranks: a partition of the corpus, in another order than its own."""
    found = partition(corpus, n_ranks, n_workers, context=context)
    everything = [track for of_rank in found for track in of_rank]
    assert sorted(everything) == [item.id for item in corpus]
    assert everything != sorted(everything)
    assert {len(of_rank) for of_rank in found} == {N // n_ranks}


def test_ranks_that_cannot_be_even(corpus):
    """Sixty tracks over seven ranks: eight or nine each; or eight each, and others are left out in each epoch."""
    found = partition(corpus, 7, 2)
    assert sorted(track for of_rank in found for track in of_rank) == [item.id for item in corpus]
    assert {len(of_rank) for of_rank in found} == {8, 9}
    left_out = set()
    for seed in range(3):
        even = partition(corpus, 7, 0, drop_uneven=True, seed=seed)
        assert [len(of_rank) for of_rank in even] == [8] * 7
        given = {track for of_rank in even for track in of_rank}
        assert len(given) == 56
        left_out |= {item.id for item in corpus} - given
    assert len(left_out) > 4
    with pytest.raises(UsageError, match="rank 7 of 7"):
        CorpusStream(corpus.torch(), rank=7, n_ranks=7)
    with pytest.raises(UsageError, match="or neither"):
        CorpusStream(corpus.torch(), rank=1)


def test_ranks_may_have_different_numbers_of_workers(corpus):
    """The partition among ranks does not depend on them."""
    streams = [CorpusStream(corpus.torch(), rank=rank, n_ranks=2) for rank in range(2)]
    found = ids(DataLoader(streams[0], batch_size=None, num_workers=3)) + ids(DataLoader(streams[1], batch_size=None))
    assert sorted(found) == [item.id for item in corpus]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_live_on_see_the_epoch(corpus, context):
    """`set_epoch` reaches persistent workers: another order and other crops, and each track once again."""
    stream = CorpusStream(corpus.torch(crop_s=0.1), buffer=16)
    loader = DataLoader(
        stream, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=context
    )
    epochs = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        epochs.append({example["id"]: example["audio"].sum().item() for example in loader})
    assert sorted(epochs[0]) == sorted(epochs[1]) == [item.id for item in corpus]
    assert list(epochs[0]) == list(epochs[2]) != list(epochs[1])
    assert epochs[0] == epochs[2] != epochs[1]


def test_a_batch_is_read_at_once(corpus, monkeypatch):
    """A `DataLoader` asks for whole batches, and neighbours are one request."""
    asked = note_reads(monkeypatch)
    corpus = corpusdiff.open(corpus.location)
    loader = DataLoader(corpus.torch("duration_s < 20"), batch_size=20, collate_fn=pad_collate)
    assert sorted(ids(loader)) == sorted(item.id for item in corpus if item.n_samples < 20 * item.sr)
    assert len(asked) < 40  # of 59 tracks, with the indices of their objects


def test_orders_of_a_stream(corpus):
    """The same seed and epoch give the same order, another epoch another one; unshuffled it is the corpus'."""
    stream = CorpusStream(corpus.torch(), buffer=8)
    first, again = ids(stream), ids(stream)
    stream.set_epoch(1)
    assert first == again != ids(stream)
    assert sorted(first) == sorted(ids(stream))
    assert ids(CorpusStream(corpus.torch(), shuffle=False)) == [item.id for item in corpus]
    assert ids(pickle.loads(pickle.dumps(stream))) == ids(stream)


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_batches_of_like_length(corpus, n_ranks):
    """Each track once, no batch longer than asked but a single long track, and little padding."""
    dataset = corpus.torch()
    found, padded, seconds = [], 0.0, 0.0
    for rank in range(n_ranks):
        batches = LengthBatches(dataset, 8.0, rank=rank, n_ranks=n_ranks)
        assert len(batches) == len(list(batches))
        for batch in DataLoader(dataset, batch_sampler=batches, collate_fn=pad_collate):
            lasts = batch["lengths"] / batch["sr"][0]
            assert len(batch["id"]) == 1 or batch["audio"].numel() / batch["sr"][0] <= 8.0 + 1e-6
            assert batch["audio"].shape[2] == int(batch["lengths"].max())
            assert not batch["audio"][int(batch["lengths"].argmin()), :, int(batch["lengths"].min()) :].any()
            padded += len(lasts) * float(lasts.max())
            seconds += float(lasts.sum())
            found += batch["id"]
    assert sorted(found) == [item.id for item in corpus]
    assert padded < 1.15 * seconds


def test_even_ranks(corpus):
    """For collective operations: all ranks get as many batches."""
    dataset = corpus.torch()
    sizes = {len(LengthBatches(dataset, 4.0, rank=rank, n_ranks=4, drop_uneven=True)) for rank in range(4)}
    assert len(sizes) == 1


class Killer(CorpusDataset):
    """Its worker dies at one track, as from a lack of memory."""

    def __getitem__(self, index):
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_killed_worker_is_said(corpus):
    """The loader raises an error that names the death, and does not hang."""
    loader = DataLoader(Killer(corpus), batch_size=None, num_workers=2, timeout=60)
    with pytest.raises(RuntimeError, match="worker .*(killed by signal|exited unexpectedly)"):
        ids(loader)


@pytest.mark.parametrize("module", [training, training.dataset, training.stream, training.batches])
def test_examples_of_the_documentation(module):
    """What the docstrings show is so."""
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed


def test_a_corpus_behind_a_url(corpus, monkeypatch):
    """Batches, and a stream over two spawned workers, give each track once; a forked worker says what to do."""
    with S3Server() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{BUCKET}/corpus"
        there, here = open_objects(url), open_objects(corpus.location, write=False)
        for key in here.list("data.zarr"):
            there.create(key, here.read(key))
        far = corpusdiff.open(url)
        everything = [item.id for item in corpus]
        assert sorted(ids(CorpusStream(far.torch(), buffer=16))) == everything
        loader = DataLoader(far.torch(), batch_sampler=far.torch().batches(20.0), collate_fn=pad_collate)
        assert sorted(ids(loader)) == everything
        stream = far.torch().stream(buffer=16)
        spawned = DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="spawn")
        assert sorted(ids(spawned)) == everything
        with pytest.raises(StoreError, match='multiprocessing_context="spawn"'):
            ids(DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60))
