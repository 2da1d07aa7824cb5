"""Reading 32 random utterances by 4 threads, and writing: our corpus beside what a user would have instead.

All read the same utterances to the same float32 samples, in turn within each round, with everything in the page cache.
Medians over the rounds. What must hold is asked of CPU seconds, which others at work on the machine hardly change; of
writing by the clock, for plain files wait for the disk where a shard does not.

python tests/bench/bench_reading.py [ROUNDS]
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf

import corpusdiff
from corpusdiff.plan import Plan, chunk_length

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

SR = 16000
N_UTTERANCES = 384
N_READ = 32
N_THREADS = 4

#: What must hold: at least so many times as fast as the best peer.
REQUIRED = {"read flac": 1.0, "read pcm": 2.0, "write flac": 1.1}

Samples = np.ndarray


class Took(NamedTuple):
    """Seconds of the process's CPU, in all threads, and of the clock."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    name : of what is measured
    ratio : CPU seconds of the best peer over ours, of writing those of the clock; None on a peer's own line
    required : least ratio, None on a peer's line
    took : of a round, median; None where it was skipped
    other_ratio : the same of the other kind of seconds
    note : what is not equal about it, or why it was skipped
    """

    name: str
    ratio: float | None
    required: float | None
    took: Took | None
    other_ratio: float | None = None
    note: str = ""


def utterances(n: int = N_UTTERANCES) -> list[Samples]:
    """Speech of 6 to 14 s in a room that is not silent: (n_samples,) int16."""
    from corpus_voices import VOICES, pink_noise, read_aloud

    rng = np.random.default_rng(5)
    voices = [read_aloud(voice, seed, use_espeak=False)[0] for seed, voice in enumerate(VOICES)]
    noisy = [voice + 0.002 * pink_noise(len(voice), rng) for voice in voices]
    found = []
    for i in range(n):
        voice = noisy[i % len(noisy)]
        length = int(rng.uniform(6, 14) * SR)
        start = int(rng.integers(len(voice) - length))
        found.append((voice[start : start + length] * rng.uniform(0.3, 0.9) * 32767).astype(np.int16))
    return found


class Corpus:
    """Ours, of one encoding."""

    def __init__(self, folder: Path, sounds: Sequence[Samples], encoding: str) -> None:
        from corpusdiff.store.finalise import finalise
        from corpusdiff.store.objects import open_objects

        out = folder / encoding
        plan = plan_corpus(out, sounds, encoding)
        write_shard(out, plan, [sound.astype(np.float32) / np.float32(32768) for sound in sounds])
        finalise(open_objects(str(out)), [plan])
        self._corpus = corpusdiff.open(str(out))

    def __call__(self, index: int) -> Samples:
        return self._corpus[index].audio[0]


class Files:
    """A FLAC file for each."""

    note = "soundfile.read"

    def __init__(self, folder: Path, sounds: Sequence[Samples]) -> None:
        self.folder = folder / "files"
        write_files(self.folder, sounds)

    def __call__(self, index: int) -> Samples:
        return sf.read(self.folder / f"{index:06d}.flac", dtype="float32")[0]


def streams(sounds: Sequence[Samples]) -> list[bytes]:
    """The utterances as FLAC."""
    found = []
    for sound in sounds:
        buffer = io.BytesIO()
        sf.write(buffer, sound, SR, format="FLAC", subtype="PCM_16")
        found.append(buffer.getvalue())
    return found


def decoded(data: bytes) -> Samples:
    """A FLAC stream's samples."""
    return sf.read(io.BytesIO(data), dtype="float32")[0]


class Parquet:
    """FLAC in a column, a row group for each utterance, which is the best for random reading."""

    note = "one row group each; pyarrow"

    def __init__(self, folder: Path, sounds: Sequence[Samples]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / "audio.parquet"
        pq.write_table(pa.table({"audio": streams(sounds)}), path, row_group_size=1, compression="none")
        self._metadata = pq.read_metadata(path)
        self._open = lambda: pq.ParquetFile(path, metadata=self._metadata, memory_map=True)

    def __call__(self, index: int) -> Samples:
        with self._open() as file:
            return decoded(file.read_row_group(index)["audio"][0].as_py())


class HfDataset:
    """FLAC in a saved data set of Hugging Face, which is Arrow in memory maps."""

    note = "bytes of `datasets`, decoded by soundfile"

    def __init__(self, folder: Path, sounds: Sequence[Samples]) -> None:
        import datasets

        datasets.disable_progress_bars()
        made = datasets.Dataset.from_dict({"audio": streams(sounds)})
        made.save_to_disk(str(folder / "hf"))
        self._dataset = datasets.load_from_disk(str(folder / "hf"))

    def __call__(self, index: int) -> Samples:
        return decoded(self._dataset[index]["audio"])


class WebDataset:
    """FLAC in tars, which are read in order: neighbours, not any 32."""

    note = "32 neighbours, each thread its own tar: no random access"

    def __init__(self, folder: Path, sounds: Sequence[Samples]) -> None:
        import webdataset

        per_tar = len(sounds) // N_THREADS
        self.tars = [str(folder / f"{number}.tar") for number in range(N_THREADS)]
        data = streams(sounds)
        for number, path in enumerate(self.tars):
            with webdataset.TarWriter(path) as tar:
                for index in range(number * per_tar, (number + 1) * per_tar):
                    tar.write({"__key__": f"{index:06d}", "flac": data[index]})
        self._per_tar = per_tar

    def __call__(self, index: int) -> Samples:
        raise NotImplementedError("a tar is read from its start")

    def read(self, number: int) -> list[Samples]:
        """The first of a tar."""
        import webdataset

        samples = iter(webdataset.WebDataset(self.tars[number], shardshuffle=False))
        return [decoded(next(samples)["flac"]) for _ in range(N_READ // N_THREADS)]


def write_files(folder: Path, sounds: Sequence[Samples]) -> None:
    """A FLAC file for each."""
    folder.mkdir(parents=True)
    for index, sound in enumerate(sounds):
        sf.write(folder / f"{index:06d}.flac", sound, SR, subtype="PCM_16")


def plan_corpus(folder: Path, sounds: Sequence[Samples], encoding: str) -> Plan:
    """A corpus of one shard, before any worker starts."""
    from store_maker import FLAC, PCM, Clip, make_generation

    clips = [Clip(f"{index:06d}", len(sound)) for index, sound in enumerate(sounds)]
    chunk = chunk_length([len(sound) / SR for sound in sounds], SR)
    return make_generation(folder, [clips], [FLAC if encoding == "flac" else PCM], chunk=chunk)


def write_shard(folder: Path, plan: Plan, sounds: Sequence[Samples]) -> None:
    """Encode and commit the shard, as a worker does: checksums, digests and syncs to the disk included."""
    from corpusdiff.encode import open_encoder
    from corpusdiff.specs import OutputSpec
    from corpusdiff.store.commit import commit_shard
    from corpusdiff.store.objects import open_objects

    spec = OutputSpec(**{**plan.job["output"][0], "dither": False})
    with tempfile.NamedTemporaryFile() as spool:
        rows = []
        for index, sound in enumerate(sounds):
            chunks: list[list[int]] = []

            def sink(number: int, payload: bytes, chunks: list[list[int]] = chunks) -> None:
                chunks.append([number, spool.tell(), len(payload)])
                spool.write(payload)

            encoder = open_encoder(spec, SR, 1, plan.chunk, f"{index:06d}", sink)
            encoder.write(sound[None])
            made = encoder.close()
            rows.append(_row(f"{index:06d}", {"name": spec.name, "size": made.size, "delay": 0, "chunks": chunks}))
        spool.flush()
        commit_shard(open_objects(str(folder), write=False), plan, 0, rows, spool.name, {})


def _row(name: str, output: dict[str, Any]) -> dict[str, Any]:
    texts = dict.fromkeys(("error", "reason", "rule"), "")
    return {
        **texts, "id": name, "path": f"{name}.wav", "parent": None, "status": "ok", "sr": SR, "n_channels": 1,
        "n_samples": output["size"], "start_s": 0.0, "metrics": {}, "texts": {}, "fields": {}, "outputs": [output],
    }  # fmt: skip


def timed(work: Callable[[], object]) -> Took:
    """What `work` takes."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work()
    return Took(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def median(took: Sequence[Took]) -> Took:
    """Of each kind of seconds."""
    return Took(*(statistics.median(seconds) for seconds in zip(*took, strict=True)))


def against(name: str, ours: Took, peers: Sequence[Took], note: str = "") -> Row:
    """Our line, beside the best of the peers."""
    best = Took(*(min(seconds) for seconds in zip(*peers, strict=True)))
    ratios = best.cpu_s / ours.cpu_s, best.wall_s / ours.wall_s
    asked, other = reversed(ratios) if name.startswith("write") else ratios
    return Row(name, asked, REQUIRED[name], ours, other, note)


def read_rows(folder: Path, rounds: int) -> list[Row]:
    """Ours and every peer that is installed, reading."""
    sounds = utterances()
    readers: dict[str, Any] = {name: Corpus(folder, sounds, name) for name in ("flac", "pcm")}
    missing = []
    for name, peer in PEERS.items():
        try:
            readers[name] = peer(folder, sounds)
        except ImportError as error:
            missing.append(Row(name, None, None, None, note=f"skipped: {error.name} is not installed"))
    took: dict[str, list[Took]] = {name: [] for name in readers}
    rng = np.random.default_rng(1)
    with ThreadPoolExecutor(N_THREADS) as pool:
        for number in range(rounds + 1):
            wanted = rng.choice(len(sounds), N_READ, replace=False).tolist()
            for name, reader in readers.items():
                found: list[Samples] = []
                one = timed(partial(_read, reader, wanted, pool, found))
                expected = found if isinstance(reader, WebDataset) else [sounds[index] for index in wanted]
                for x, sound in zip(found, expected, strict=True):
                    assert x.dtype == np.float32
                    assert x is sound or np.array_equal(x * 32768, sound), name
                if number:  # the first one fills caches
                    took[name].append(one)
    medians = {name: median(times) for name, times in took.items()}
    peers = {name: of for name, of in medians.items() if name in PEERS}
    rows = [against(f"read {name}", medians[name], list(peers.values())) for name in OURS]
    return [*rows, *(Row(name, None, None, of, note=PEERS[name].note) for name, of in peers.items()), *missing]


def _read(reader: Any, wanted: list[int], pool: ThreadPoolExecutor, into: list[Samples]) -> None:
    if isinstance(reader, WebDataset):
        for part in pool.map(reader.read, range(N_THREADS)):
            into += part
    else:
        into += pool.map(reader, wanted)


def write_rows(folder: Path, rounds: int) -> list[Row]:
    """Ours beside plain files, writing: one process, one thread."""
    sounds = [sound.astype(np.float32) / np.float32(32768) for sound in utterances(96)]
    ours, files = [], []
    for number in range(rounds + 1):
        out = folder / f"written{number}"
        plan = plan_corpus(out, sounds, "flac")
        ours.append(timed(partial(write_shard, out, plan, sounds)))
        files.append(timed(partial(write_files, folder / f"plain{number}", sounds)))
    mine, theirs = median(ours[1:]), median(files[1:])
    return [
        against("write flac", mine, [theirs], "encoded and committed, with its checksums and digests"),
        Row("files, written", None, None, theirs, note="soundfile.write"),
    ]


def rows(rounds: int = 15) -> list[Row]:
    """All lines of the table; `rounds` of reading, a third as many of writing."""
    with tempfile.TemporaryDirectory() as folder:
        return read_rows(Path(folder), rounds) + write_rows(Path(folder), max(3, rounds // 3))


def table(found: Sequence[Row]) -> str:
    """As Markdown."""
    lines = [
        f"| {N_READ} utterances of 6 to 14 s, {N_THREADS} threads | CPU ms | ms | times the best peer | at least "
        "| CPU, times | by the clock, times | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        ms = [""] * 2 if row.took is None else [f"{1000 * seconds:.1f}" for seconds in row.took]
        both = (row.other_ratio, row.ratio) if row.name.startswith("write") else (row.ratio, row.other_ratio)
        ratios = ["" if x is None else f"{x:.2f}" for x in (row.ratio, row.required, *both)]
        lines.append(f"| {' | '.join([row.name, *ms, *ratios, row.note])} |")
    packages = ("numpy", "soundfile", "zarr", "numcodecs", "pyarrow", "datasets", "webdataset")
    versions = (f"{name} {importlib.metadata.version(name)}" for name in packages if find_spec(name))
    return "\n".join([*lines, "", f"Python {sys.version.split()[0]}, {', '.join(versions)}, {os.cpu_count()} cores"])


OURS = ("flac", "pcm")
PEERS: dict[str, Any] = {"files": Files, "parquet": Parquet, "datasets": HfDataset, "webdataset": WebDataset}

if __name__ == "__main__":
    print(table(rows(int(sys.argv[1]) if len(sys.argv) > 1 else 15)))
