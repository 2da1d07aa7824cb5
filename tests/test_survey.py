"""What a plan is made of: which headers are read, and that it does not matter how the rows came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from corpusdiff.driver import execute
from corpusdiff.errors import ManifestError
from corpusdiff.isolate import close_children
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.frozen import FrozenManifest, freeze
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.request import RunRequest
from corpusdiff.shards import RunOptions
from corpusdiff.survey import listed, probe_here, probed, surveyed

LENGTHS_S = [0.5, 1.0, 0.25, 2.0, 0.75]


@pytest.fixture(scope="module", autouse=True)
def _no_child_is_left():
    yield
    close_children()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five recordings of known lengths."""
    random = np.random.default_rng(0)
    for number, seconds in enumerate(LENGTHS_S):
        sf.write(tmp_path / f"{number}.wav", 0.1 * random.standard_normal(round(16000 * seconds)), 16000)
    return tmp_path


def manifest_of(folder: Path, durations: list[object], name: str = "duration", form: str = "parquet"):
    """A manifest of the recordings with a column of durations."""
    path = folder / f"{name}-{len(list(folder.glob('*.parquet')))}.{form}"
    pq.write_table(pa.table({"path": [f"{number}.wav" for number in range(5)], name: durations}), path)
    return open_manifest(str(path))


def here(manifest):
    """Headers are read in one child process."""
    return probe_here(manifest, RunOptions(), 1)


def headers(manifest) -> list[int | None]:
    """What the survey says that the headers claim."""
    tracks = [item.tracks() if isinstance(item, Rows) else [item] for item in surveyed(manifest, here(manifest))]
    return [track.header_samples for some in tracks for track in some]


def test_only_rows_without_a_duration_are_probed(folder: Path) -> None:
    """A number of seconds is taken at its word; no number, and the header is asked."""
    assert headers(manifest_of(folder, LENGTHS_S)) == [None] * 5
    assert headers(manifest_of(folder, [0.5, None, 0.25, float("nan"), 1])) == [None, 16000, None, 32000, None]
    assert headers(manifest_of(folder, LENGTHS_S, name="seconds")) == [8000, 16000, 4000, 32000, 12000]
    assert headers(manifest_of(folder, [str(length) for length in LENGTHS_S])) == [8000, 16000, 4000, 32000, 12000]


def test_tables_and_tracks_give_the_same_manifest(folder: Path) -> None:
    """A plan does not depend on whether the rows came one by one, as for --update, or as tables."""
    for durations in (LENGTHS_S, [0.5, None, 0.25, 2.0, 0.75]):
        manifest = manifest_of(folder, durations)
        in_bulk = freeze(surveyed(manifest, here(manifest)), folder / "one")
        one_by_one = freeze(probed(manifest, listed(manifest), here(manifest)), folder / "two")
        assert in_bulk == one_by_one
        with FrozenManifest(folder / "one") as frozen:
            assert all(track.size and track.version for track in frozen)
            np.testing.assert_array_equal(frozen.lengths_s(), LENGTHS_S)


def test_a_limit_counts_rows(folder: Path) -> None:
    """The first rows only, also of a table."""
    manifest = manifest_of(folder, LENGTHS_S)
    assert freeze(surveyed(manifest, here(manifest), limit=2), folder / "one").n_tracks == 2


def test_durations_that_are_no_seconds_are_refused(folder: Path) -> None:
    """Milliseconds would make every track a shard."""
    with pytest.raises(ManifestError, match=r'duration of "0\.wav" is 500, and its file has 0\.5 s; expected seconds'):
        headers(manifest_of(folder, [1000 * length for length in LENGTHS_S]))


def test_no_header_makes_the_same_audio(folder: Path) -> None:
    """With durations that are true, a corpus planned without any header has the audio of one planned with them."""
    job = folder / "job.toml"
    job.write_text('name = "plain"\n[[output]]\nname = "flac"\nencoding = "flac"\n')
    trees = []
    for name in ("duration", "seconds"):
        out = folder / f"out-{name}"
        source = manifest_of(folder, LENGTHS_S, name).source
        assert execute(RunRequest(source, str(out), job=str(job), cluster="none")) == 0
        audio = out / "data.zarr" / "audio"
        trees.append({path.relative_to(audio): path.read_bytes() for path in audio.rglob("*") if path.is_file()})
    assert len(trees[0]) > 1
    assert trees[0] == trees[1]
