"""CPU seconds of `corpusdiff run` against those of the least that the work could be.

The floor is `bare_loop.py`: soundfile, soxr HQ and FLAC in a loop. Both sides run in processes of their own
over the same files in the same session, so that the machine cancels out of the ratio. What starting up costs
is measured by a run over one file, and reported apart.

PYTHONPATH=tests python -m bench.bench_floor [MINUTES]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.accounts import cpu_seconds
from corpus_maker import Recipe, make_corpus

TESTS = Path(__file__).resolve().parents[1]

#: (encoding, suffix, sr, n_channels) in turn: what speech corpora come in.
MIX = (
    ("wav16", "wav", 16000, 1),
    ("flac", "flac", 44100, 2),
    ("mp3", "mp3", 44100, 2),
    ("wav16", "wav", 48000, 1),
    ("flac", "flac", 16000, 1),
    ("vorbis", "ogg", 32000, 1),
)
SECONDS = 10.0

#: Distinct files: decoders do not care that the same sound comes again, and making it takes time.
N_DISTINCT = 36


@dataclass(frozen=True)
class Cost:
    """What both sides took.

    Parameters
    ----------
    audio_s : length of the audio
    floor_cpu_s, floor_start_s : CPU of the bare loop, over all files and over one
    run_cpu_s, run_start_s : CPU of `corpusdiff run`, over all files and over one
    """

    audio_s: float
    floor_cpu_s: float
    floor_start_s: float
    run_cpu_s: float
    run_start_s: float

    @property
    def ratio(self) -> float:
        """All CPU of the run over all CPU of the loop."""
        return self.run_cpu_s / self.floor_cpu_s

    @property
    def marginal_ratio(self) -> float:
        """The same without what starting up costs on either side."""
        return (self.run_cpu_s - self.run_start_s) / (self.floor_cpu_s - self.floor_start_s)

    @property
    def plausible(self) -> bool:
        """Whether the run took what decoding and encoding must take: else some process was not counted."""
        return self.marginal_ratio > 0.8

    def __str__(self) -> str:
        return (
            f"{self.audio_s / 60:.0f} min of audio, s of CPU (of them to start): "
            f"bare loop {self.floor_cpu_s:.2f} ({self.floor_start_s:.2f}), "
            f"corpusdiff run {self.run_cpu_s:.2f} ({self.run_start_s:.2f}); "
            f"ratio {self.ratio:.2f}, {self.marginal_ratio:.2f} without starting"
        )


def make_files(dest: Path, minutes: float) -> None:
    """Files of SECONDS each in the formats of MIX, `minutes` in all."""
    n_files = round(minutes * 60.0 / SECONDS)
    recipes = []
    for i in range(min(n_files, N_DISTINCT)):
        encoding, suffix, sr, n_channels = MIX[i % len(MIX)]
        treatment = ("noisy",) if i % 2 else ("wandering",)
        recipes.append(Recipe(f"{i:04d}.{suffix}", encoding, sr, SECONDS, f"voice{i % 4}", treatment, n_channels))
    make_corpus(dest, recipes=recipes, use_espeak=False)
    for i in range(len(recipes), n_files):
        like = dest / recipes[i % len(recipes)].path
        shutil.copy(like, dest / f"{i:04d}{like.suffix}")


#: Every track goes by the rule `wandering`: high-pass and level. Denoising, which the limit was not made for, is left
#: out; it costs as much again as the bare loop where every track is noisy, as these are.
_NO_DENOISING = ("--set", "rule.noisy.when=snr_db < -99", "--set", "rule.wandering.when=snr_db > -99")


def measure(minutes: float, work: Path) -> Cost:
    """Make the files in `work`, run both sides, and say what they took."""
    files, one = work / "files", work / "one"
    make_files(files, minutes)
    one.mkdir()
    shutil.copy(min(files.iterdir()), one)
    _run(files, work / "warm", "--limit", str(len(MIX)))  # fills the caches of compiled kernels
    return Cost(
        audio_s=minutes * 60.0,
        floor_cpu_s=_floor(files),
        floor_start_s=_floor(one),
        run_cpu_s=_run(files, work / "out"),
        run_start_s=_run(one, work / "out-one"),
    )


def _run(source: Path, out: Path, *options: str) -> float:
    command = Path(sys.executable).parent / "corpusdiff"
    return cpu_seconds(command, "run", source, out, "--job", "asr", *_NO_DENOISING, "--cluster", "none", *options)


def _floor(source: Path) -> float:
    return cpu_seconds(sys.executable, TESTS / "bench" / "bare_loop.py", source)


def main() -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as work:
        print(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0, Path(work)))


if __name__ == "__main__":
    main()
