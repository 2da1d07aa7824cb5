"""Corpora as PyTorch datasets: by index, or as a stream that is shuffled by shard; and batches of like length.

Everything here may be pickled, and used after a fork or a spawn: a corpus on a disk opens its files when it reads.
One behind a URL keeps connections, which no fork survives: give the `DataLoader` ``multiprocessing_context="spawn"``.
An epoch that is set here is seen by workers that live on (``persistent_workers``) too.

>>> from torch.utils.data import DataLoader
>>> from corpusdiff.examples import tones
>>> dataset = tones().torch(where="duration_s < 20", columns=["rule"])
>>> loader = DataLoader(dataset, batch_sampler=LengthBatches(dataset, max_s=2.5), collate_fn=pad_collate)
>>> sorted(tuple(batch["audio"].shape) for batch in loader)
[(1, 1, 24000), (2, 1, 16000)]
"""

from corpusdiff.training.batches import LengthBatches, pad_collate
from corpusdiff.training.dataset import CorpusDataset, Example
from corpusdiff.training.stream import CorpusStream

__all__ = ["CorpusDataset", "CorpusStream", "Example", "LengthBatches", "pad_collate"]
