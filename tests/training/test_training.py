"""PyTorch reads a corpus: each track once an epoch, over workers and ranks; crops and batches of like length."""

from __future__ import annotations

import os
import pickle
import signal

import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.driver import execute
from corpusdiff.errors import UsageError
from corpusdiff.request import RunRequest
from corpusdiff.store.objects import LocalObjects

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

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
    read = []
    read_part = LocalObjects.read_part

    def noted(self, key, start, size):
        data = read_part(self, key, start, size)
        read.append(len(data))
        return data

    monkeypatch.setattr(LocalObjects, "read_part", noted)
    corpus[5].audio  # noqa: B018
    bytes_per_chunk = sum(read) / (corpus[5].n_samples / corpus[5].layout.chunk)
    for epoch in range(20):
        dataset.set_epoch(epoch)
        read.clear()
        dataset[5]
        assert 1 <= len(read) <= 2  # two where the crop lies over the border of two objects
        assert sum(read) < 2.2 * bytes_per_chunk


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_stream_gives_each_track_once(corpus, context, n_ranks):
    """Four workers and two ranks: a partition of the corpus, in another order each epoch."""
    found = []
    for rank in range(n_ranks):
        stream = CorpusStream(corpus.torch(), buffer=16, rank=rank, n_ranks=n_ranks)
        workers = 4 if context == "fork" else 2
        loader = DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=context)
        found.append(ids(loader))
    everything = [track for of_rank in found for track in of_rank]
    assert sorted(everything) == [item.id for item in corpus]
    assert everything != sorted(everything)
    assert all(len(of_rank) > N / n_ranks / 2 for of_rank in found)


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
