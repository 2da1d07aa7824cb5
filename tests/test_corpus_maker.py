"""The corpus that the tests and the demo run on is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import corpus_maker
import numpy as np
import pytest
import soundfile as sf
from corpus_maker import DAMAGED, IGNORED, RECIPES, SMALL, Recipe, make_corpus
from corpus_voices import VOICES, espeak_available, pink_noise, read_aloud
from corpus_writers import FORMATS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole corpus, made once."""
    dest = tmp_path_factory.mktemp("corpus")
    make_corpus(dest)
    return dest


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """The samples (n_channels, n_samples) as FFmpeg hears them, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.layout.name, stream.rate)
        frames = [out.to_ndarray() for frame in container.decode(stream) for out in resampler.resample(frame)]
        return np.concatenate(frames, axis=1), stream.rate


def test_files_are_those_of_the_recipes(corpus: Path) -> None:
    """Nothing is missing and nothing is there that no list names."""
    named = {*(recipe.path for recipe in RECIPES), *DAMAGED, *IGNORED}
    assert contents(corpus).keys() == named


def test_corpus_is_small(corpus: Path) -> None:
    """The corpus stays under 30 MB."""
    assert sum(map(len, contents(corpus).values())) < 30e6


def test_every_file_decodes_as_its_recipe_says(corpus: Path) -> None:
    """Rate, channels and length are those of the recipe, lossy padding aside; only silence is silent."""
    for recipe in RECIPES:
        x, sr = decoded(corpus / recipe.path)
        exact = recipe.encoding not in {"mp3", "vorbis", "opus", "aac", "video"}
        assert sr == recipe.sr, recipe.path
        assert x.shape[0] == recipe.n_channels, recipe.path
        assert x.shape[1] == pytest.approx(recipe.seconds * sr, abs=0.5 if exact else 0.12 * sr), recipe.path
        assert (np.max(np.abs(x)) == 0.0) == (recipe.sound == "silence"), recipe.path


def test_recipes_cover_the_formats_rates_and_channels() -> None:
    """Every format that can be written is in the corpus, telephone to studio rates, mono and stereo."""
    assert {recipe.encoding for recipe in RECIPES} == set(FORMATS)
    assert {8000, 16000, 22050, 24000, 32000, 44100, 48000} <= {recipe.sr for recipe in RECIPES}
    assert {recipe.n_channels for recipe in RECIPES} == {1, 2}
    assert min(recipe.seconds for recipe in RECIPES) <= 0.2
    assert max(recipe.seconds for recipe in RECIPES) > 170


def test_basenames_collide_and_paths_do_not() -> None:
    """Several files share a basename in different folders."""
    paths = [recipe.path for recipe in RECIPES]
    assert len(set(paths)) == len(paths)
    assert sum(Path(path).name == "001.wav" for path in paths) >= 3


def test_damaged_files_do_not_decode(corpus: Path) -> None:
    """No decoder gets through the damaged files."""
    for name in DAMAGED:
        with pytest.raises(sf.LibsndfileError):
            sf.read(corpus / name)
        with pytest.raises(av.error.FFmpegError):
            decoded(corpus / name)


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two corpora of one seed are equal; another seed's differs in every file with sound."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_corpus(tmp_path / name, seed=seed, small=True)
    first = contents(tmp_path / "a")
    assert contents(tmp_path / "b") == first
    assert all(data != first[path] for path, data in contents(tmp_path / "c").items())


@pytest.mark.parametrize("encoding", FORMATS)
def test_every_format_is_written_the_same_twice(encoding: str, tmp_path: Path) -> None:
    """No format carries a time of day or a random serial number."""
    recipe = Recipe("x", encoding, 48000, 0.5, "chords", (), 2)
    make_corpus(tmp_path / "a", recipes=[recipe])
    make_corpus(tmp_path / "b", recipes=[recipe])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_treatments_do_what_they_are_called(tmp_path: Path) -> None:
    """Quiet is 40 dB lower, muffled has no highs, noisy has 10 dB of noise, loud clips."""
    names = ("", "quiet", "muffled", "noisy", "loud")
    sounds = corpus_maker.Sounds(0, use_espeak=False)
    clean, quiet, muffled, noisy, loud = (
        sounds.make(Recipe("same", "wav16", 16000, 5.0, "voice0", (name,) if name else ())) for name in names
    )
    assert np.allclose(quiet, clean / 100.0)
    highs = [np.sum(np.abs(np.fft.rfft(x[0])[20000:]) ** 2) for x in (clean, muffled)]
    assert highs[1] < 0.001 * highs[0]
    assert np.mean(clean**2) / np.mean((noisy - clean) ** 2) == pytest.approx(10.0, rel=0.01)
    assert np.max(np.abs(loud)) > 1.0


@pytest.mark.parametrize("use_espeak", [False, True])
def test_voices_speak_and_pause(use_espeak: bool) -> None:
    """Both synthesisers give speech with pauses, and a voice of its own to each speaker."""
    if use_espeak and not espeak_available():
        pytest.skip("espeak-ng is not on PATH")
    spoken = [read_aloud(voice, 0, use_espeak=use_espeak) for voice in VOICES]
    for x, sr in spoken:
        n = len(x) // (sr // 50) * (sr // 50)
        level = np.sqrt(np.mean(x[:n].reshape(-1, sr // 50) ** 2, axis=1))
        assert len(x) > 25 * sr
        assert np.max(np.abs(x)) == pytest.approx(0.5)
        assert 0.03 < np.mean(level < 0.002) < 0.6
    assert len({x[:50000].tobytes() for x, _ in spoken}) == len(VOICES)


def test_pink_noise_falls_by_10_db_per_decade() -> None:
    """Each decade of frequency holds the same power within 2 dB."""
    power = np.abs(np.fft.rfft(pink_noise(1 << 18, np.random.default_rng(0)))) ** 2
    decades = [10 * np.log10(power[lo : 10 * lo].sum()) for lo in (100, 1000, 10000)]
    assert np.ptp(decades) < 2.0


def test_command_makes_the_small_corpus(tmp_path: Path) -> None:
    """`python tests/corpus_maker.py DEST --small` works from any folder."""
    script = Path(corpus_maker.__file__)
    subprocess.run([sys.executable, script, "made", "--small", "--no-espeak"], cwd=tmp_path, check=True)
    assert contents(tmp_path / "made").keys() == {recipe.path for recipe in SMALL}
