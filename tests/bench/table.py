"""What was measured, as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from bench.measure import Result, Results
from bench.ratios import BOUNDS
from bench.sides import versions

#: Kept in the repository.
PAGE = Path(__file__).with_name("TABLE.md")

LOADS = {
    "A": "Utterances of 10 s with noise: 44.1 kHz stereo FLAC and MP3, 48 kHz and 16 kHz mono WAV; to 16 kHz mono",
    "A16": "The same as 16 kHz mono WAV",
    "B": "Words of 0.4 s: 8 kHz mono WAV; to 16 kHz mono",
    "C": "One long recording: 44.1 kHz stereo FLAC; to 16 kHz mono",
    "D": "Full-band music, tracks of 30 s: 44.1 kHz stereo FLAC; to the same, 24 bit",
}


def _markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    columns = list(columns)
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(['---'] * len(columns))}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def must_hold(found: Results) -> list[str]:
    """The bounds."""
    rows = []
    for bound in BOUNDS:
        figure = bound.figure(found)
        sign = "at least" if bound.at_least else "at most"
        verdict = "not measured" if figure is None else "yes" if bound.holds(figure) else "**no**"
        if found.busy and bound.wall and figure is not None:
            verdict += ", on a busy machine"
        rows.append((bound.name, "" if figure is None else f"{figure:.3g}", f"{sign} {bound.limit:g}", verdict))
    table = _markdown(("figure", "measured", "must be", "holds"), rows)
    return [
        *table,
        "That work begins within 10 s when a nearly finished corpus of 40 000 shards is resumed, `make scale` asserts.",
        "",
    ]


def side_rows(found: Results, load: str) -> list[str]:
    """The sides of one load: costs, rates, and CPU for a second of audio over the floor's."""
    sides = [result for result in found.sides.values() if result.side.load == load]
    floor = found.sides.get(f"{load}: floor")
    columns = ("", "CPU s", "of them to start", "wall s", "peak MB", "audio s per CPU s", "starting apart",
               "CPU over the floor's", "what is not equal")  # fmt: skip
    rows = [_cells(result, floor) for result in sides]
    rows += [
        (key.split(": ", 1)[1], *[""] * 7, f"not run: {reason}")
        for key, reason in found.absent.items()
        if key.startswith(f"{load}: ")
    ]
    return _markdown(columns, rows)


def _cells(result: Result, floor: Result | None) -> tuple[str, ...]:
    cost = result.cost
    over = "" if floor is None else f"{floor.rate / result.rate:.2f}"
    costs = (f"{cost.cpu_s:.2f}", f"{result.start.cpu_s:.2f}", f"{cost.wall_s:.2f}", f"{cost.peak_bytes / 1e6:.0f}")
    return (result.side.name, *costs, f"{result.whole_rate:.0f}", f"{result.rate:.0f}", over, result.side.note)


def _head(found: Results) -> list[str]:
    made = "real recordings" if found.real else "sounds made by code"
    scale = "the full loads" if found.scale == 1 else f"loads of {found.scale:g} times the full size"
    counted = "Ratios of CPU count starting up." if found.scale >= 1 else (
        "In loads this small starting up weighs more than it does over hours: the ratios of CPU leave it out."
    )  # fmt: skip
    busy = f"load average at the start {found.load:.1f} of {os.cpu_count()} cores" + (
        ": others were at work on the machine; believe the ratios of CPU and not the times." if found.busy else "."
    )
    return [
        "# Speed, beside what one would use instead",
        "",
        f"Made by `make bench`: {scale}, of {made}; medians of {found.rounds} runs, all sides in turn. {counted}",
        "Every process is counted, from its start to its end. Each side works in one process, so CPU seconds are",
        "those of one core. Every output was opened, decoded to its end, and is as long as its input to 0.1 s.",
        "",
        f"{platform.machine()}, {_processor()}; {busy}",
        "",
    ]


def _processor() -> str:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{len(found)} x {found[0].split(':', 1)[1].strip()}" if found else f"{os.cpu_count()} cores"


def reading() -> list[str]:
    """The table of random reading."""
    if find_spec("bench.bench_reading") is None:
        return []
    module = import_module("bench.bench_reading")
    return ["## Reading and writing", "", module.table(module.rows()), ""]


def page(found: Results, read: Iterable[str] = ()) -> str:
    """All of it."""
    lines = [*_head(found), "## What must hold", "", *must_hold(found)]
    for load, said in LOADS.items():
        sides = [result for result in found.sides.values() if result.side.load == load]
        if sides:
            what = f"{sides[0].audio_s / 60:.1f} minutes of audio."
            lines += [f"## {load}", "", f"{said}. {what}", "", *side_rows(found, load)]
    if found.figures:
        lines += ["## Other figures", "", *_markdown(("", ""), [(n, f"{v:.3g}") for n, v in found.figures.items()])]
    lines += [*read, "## Versions", "", f"Python {platform.python_version()}; {'; '.join(versions())}.", ""]
    return "\n".join(lines)
