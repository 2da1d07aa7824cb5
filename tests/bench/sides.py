"""Who is measured against whom: every side as a command over a folder, with what of it is not equal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench import checks
from bench.accounts import Cost, cost_of

HERE = Path(__file__).parent

#: (source, out) to a command.
Command = Callable[[Path, Path], list["str | Path"]]


@dataclass(frozen=True)
class Side:
    """One way of doing the work.

    Parameters
    ----------
    name : in the table and in the ratios
    load : what it works on, "A" to "D"; "A16" is A as 16 kHz WAV
    command : of the work
    check : of the outputs, run after each run of the command
    rate : (sr, n_channels) of the outputs
    needs : programs, and packages of Python
    note : what is not equal to the others of its load
    short : whether the short form runs it too
    """

    name: str
    load: str
    command: Command
    check: checks.Check = checks.files
    rate: tuple[int, int] = (16000, 1)
    needs: tuple[str, ...] = ()
    note: str = ""
    short: bool = False

    @property
    def key(self) -> str:
        """What the ratios call it."""
        return f"{self.load}: {self.name}"

    @property
    def ours(self) -> bool:
        """Whether it is the package, and no peer."""
        return self.name.startswith("corpusdiff")

    def absence(self) -> str:
        """What is not installed of what it needs; "" where it can run."""
        missing = [name for name in self.needs if shutil.which(name) is None and find_spec(name) is None]
        if "sox" in self.needs and not missing and "mp3" not in _said("sox", "--help"):
            missing = ["libsox-fmt-mp3"]
        return f"{', '.join(missing)} not installed" if missing else ""

    def run(self, source: Path, out: Path) -> Cost:
        """Do the work into `out`, which is deleted before and after; what it took. Raises where it is not done."""
        shutil.rmtree(out, ignore_errors=True)
        cost = cost_of(*self.command(source, out))
        self.check(source, out, *self.rate)
        shutil.rmtree(out)
        return cost

    def with_workers(self, workers: int) -> Side:
        """The same with so many processes, on the local cluster where it is ours."""

        def command(source: Path, out: Path) -> list[str | Path]:
            words = self.command(source, out)
            place = words.index("--workers") + 1
            return [*words[:place], str(workers), *words[place + 1 :]]

        return replace(self, command=command)

    def with_options(self, *options: str) -> Side:
        """The same with more words at the end of the command."""
        return replace(self, command=lambda source, out: [*self.command(source, out), *options])


def _peer(script: str, *what: str) -> Command:
    path = HERE / "peers" / f"{script}.py"
    return lambda source, out: [sys.executable, path, *what, source, out, "--workers", "1"]


def _ours(job: str, *options: str) -> Command:
    name = str(HERE / job) if job.endswith(".toml") else job
    command = Path(sys.executable).with_name("corpusdiff")
    cluster = () if "--cluster" in options else ("--cluster", "none")
    return lambda source, out: [command, "run", source, out, "--job", name, *cluster, *options]


_corpus = partial(Side, check=checks.corpus)
_NO_METRICS = "no metrics, no records, nothing safe"

SIDES = (
    Side("floor", "A", _peer("floor", "speech"), note=_NO_METRICS, short=True),
    _corpus("corpusdiff, denoised", "A", _ours("denoised.toml"), note="and metrics before and after", short=True),
    _corpus("corpusdiff, asr", "A", _ours("asr"), note="the ready job: its rules choose"),
    _corpus("corpusdiff, converted", "A", _ours("converted.toml"), note="and metrics before and after"),
    _corpus("corpusdiff, denoised, local", "A", _ours("denoised.toml", "--cluster", "local", "--workers", "1"),
            note="a scheduler and a worker: mostly their start"),
    Side("ffmpeg convert", "A", _peer("ffmpeg_pool", "convert"), needs=("ffmpeg",), note=_NO_METRICS),
    Side("ffmpeg full", "A", _peer("ffmpeg_pool", "full"), needs=("ffmpeg",), short=True,
         note="high-pass, afftdn, acompressor, loudnorm of one pass"),
    Side("ffmpeg no loudnorm", "A", _peer("ffmpeg_pool", "no-loudnorm"), needs=("ffmpeg",), short=True,
         note="the same, and no loudness"),
    Side("ffmpeg-normalize", "A", _peer("normalize"), needs=("ffmpeg", "ffmpeg_normalize"),
         note="the same, loudnorm of two passes"),
    Side("sox convert", "A", _peer("sox_pool", "convert"), needs=("sox",), note=_NO_METRICS),
    Side("sox noisered", "A", _peer("sox_pool", "noisered"), needs=("sox",), short=True,
         note="high-pass, fixed noise profile, compander, peak; no loudness, no limiter, no metrics"),
    Side("Python script", "A", _peer("python_pool"), needs=("noisereduce", "pedalboard", "pyloudnorm"), short=True,
         note="soundfile, soxr, noisereduce, pedalboard, pyloudnorm; sample peaks, no metrics"),
    Side("datasets map", "A", _peer("hf_map"), checks.arrow, needs=("datasets",), note=f"convert: {_NO_METRICS}"),
    Side("Lhotse", "A", _peer("lhotse_pool"), needs=("lhotse", "torch"), note=f"convert: {_NO_METRICS}"),
    Side("ffmpeg opus", "A", _peer("ffmpeg_pool", "opus"), needs=("ffmpeg",), note="complexity 5, no stages"),
    _corpus("corpusdiff, codec", "A", _ours("codec"), note="complexity 5; high-pass, denoise, loudness, metrics"),
    Side("libopus alone, 5", "A16", _peer("opus_alone", "5"), note="complexity 5, and nothing else", short=True),
    _corpus("corpusdiff, codec", "A16", _ours("codec"), short=True,
            note="complexity 5; high-pass, denoise, loudness, metrics"),
    Side("libopus alone, 10", "A16", _peer("opus_alone", "10"), note="complexity 10, and nothing else"),
    _corpus("corpusdiff, codec, 10", "A16", _ours("codec", "--set", "output.opus.complexity=10"),
            note="complexity 10"),
    Side("floor", "B", _peer("floor", "speech"), note=_NO_METRICS, short=True),
    _corpus("corpusdiff, converted", "B", _ours("converted.toml"), note="and metrics before and after", short=True),
    _corpus("corpusdiff, denoised", "B", _ours("denoised.toml")),
    Side("floor", "C", _peer("floor", "speech"), note=_NO_METRICS, short=True),
    _corpus("corpusdiff, denoised", "C", _ours("denoised.toml"), note="and metrics before and after", short=True),
    Side("ffmpeg full", "C", _peer("ffmpeg_pool", "full"), needs=("ffmpeg",), note="as on A", short=True),
    Side("ffmpeg no loudnorm", "C", _peer("ffmpeg_pool", "no-loudnorm"), needs=("ffmpeg",), note="as on A", short=True),
    Side("floor", "D", _peer("floor", "music"), rate=(44100, 2), note=_NO_METRICS),
    _corpus("corpusdiff, music", "D", _ours("music"), rate=(44100, 2), note="and metrics before and after"),
    Side("ffmpeg music", "D", _peer("ffmpeg_pool", "music"), rate=(44100, 2), needs=("ffmpeg",),
         note="a fixed equaliser, loudnorm of one pass"),
)  # fmt: skip


def versions() -> list[str]:
    """Of the package, what it stands on, and the peers."""
    names = ("corpusdiff", "numpy", "scipy", "numba", "soxr", "soundfile", "av", "zarr", "dask", "noisereduce",
             "pedalboard", "pyloudnorm", "datasets", "lhotse", "torch", "ffmpeg-normalize")  # fmt: skip
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    ffmpeg = _said("ffmpeg", "-version").split(" Copyright")[0] or "ffmpeg not installed"
    sox = _said("sox", "--version").strip().removeprefix("sox:").strip() or "sox not installed"
    return [*found, ffmpeg, sox]


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
