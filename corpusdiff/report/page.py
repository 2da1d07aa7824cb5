"""The page itself: one HTML file with its scripts, pictures and sounds inside."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from corpusdiff import __version__
from corpusdiff.progress import format_hours
from corpusdiff.report.collect import Collected, Histogram, RuleUse
from corpusdiff.report.figures import bars, embed, pictures
from corpusdiff.report.listen import Heard, Sample
from corpusdiff.report.style import SCRIPT, STYLE

_KEYS = '<span class="key before">before</span><span class="key after">after</span>'


@dataclass(frozen=True)
class About:
    """What the page says at its top and end.

    Parameters
    ----------
    out : the corpus
    job : as it was run, its parameters by section
    made : versions, time and command of the plan
    """

    out: str
    job: Mapping[str, Any]
    made: Mapping[str, Any]


def render(about: About, found: Collected, samples: Sequence[Sample]) -> str:
    """The whole page."""
    from bokeh.resources import Resources

    plots = {f"h{i}": bars(histogram) for i, histogram in enumerate(found.histograms) if not _is_one_value(histogram)}
    for i, sample in enumerate(samples):
        plots |= {f"s{i}{name}": plot for name, plot in pictures(sample).items()}
    script, places = embed(plots) if plots else ("", {})
    body = "\n".join(
        [
            *_top(about, found),
            *_failures(about, found),
            *_section("Before and after", _figures(found, places)),
            *_rules(about, found.rules),
            *_listen(samples, places),
            *_end(about),
        ]
    )
    resources = Resources(mode="inline", components=["bokeh"]).render() if places else ""
    title = escape(f"corpusdiff: {about.out}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n{resources}\n{script}\n<script>{SCRIPT}</script>\n</head><body>\n"
        f"{body}\n</body></html>\n"
    )


def _top(about: About, found: Collected) -> Iterator[str]:
    yield f"<h1>{escape(about.out)}</h1>"
    made = f"job {about.job.get('name', '')}; planned {about.made.get('time', 'at an unknown time')}"
    yield f'<p class="soft">{escape(made)}</p>'
    tiles = [(f"{sum(found.counts.values()):,}", "tracks", ""), (f"{found.counts.get('ok', 0):,}", "ok", "")]
    tiles += [(f"{found.counts[status]:,}", words, kind) for status, words, kind in
              (("failed", "failed", "bad"), ("filtered", "left out", "")) if status in found.counts]  # fmt: skip
    tiles += [(format_hours(found.hours * 3600), "of audio in", ""), (format_hours(found.out_hours * 3600), "out", "")]
    yield '<ul class="tiles">'
    yield from (f'<li><b class="{kind}">{number}</b>{words}</li>' for number, words, kind in tiles)
    yield "</ul>"


def _failures(about: About, found: Collected) -> Iterator[str]:
    for status, title in (("failed", "What failed"), ("filtered", "What was left out")):
        rows = [
            (escape(failure.reason), f"{failure.tracks:,}",
             "<br>".join(f"<code>{escape(track)}</code>: {escape(error)}" for track, error in failure.examples))
            for failure in found.failures if failure.status == status
        ]  # fmt: skip
        command = f"corpusdiff table {about.out} --where 'status == \"{status}\"' --columns id,reason,error"
        hint = f'<p class="soft">All of them: <code>{escape(command)}</code></p>'
        yield from _section(title, [_table("Reason|#Tracks|>For example", rows), hint] if rows else [])


def _is_one_value(histogram: Histogram) -> bool:
    """Whether all tracks have one value, before and after: a sentence says more than a plot."""
    counts = histogram.after if histogram.before is None else histogram.before + histogram.after
    return int((counts > 0).sum()) == 1 and math.isclose(histogram.edges[-1] - histogram.edges[0], 1.0)


def _figures(found: Collected, places: Mapping[str, str]) -> Iterator[str]:
    shown, alike = [], []
    for i, histogram in enumerate(found.histograms):
        before, after = histogram.medians
        if f"h{i}" not in places:
            alike.append(f"{histogram.title}: {_number(after)} {histogram.unit}".strip())
            continue
        medians = _number(after) if before is None else f"{_number(before)} → {_number(after)}"
        head = f'<h3>{escape(histogram.title)}</h3><span class="soft">median {medians} {escape(histogram.unit)}</span>'
        shown.append(f"<div>{head}{places[f'h{i}']}</div>")
    if shown:
        yield f'<p class="soft">Tracks by what was measured of them; what lies beyond is in the last bar. {_KEYS}</p>'
        yield f'<div class="plots">{"".join(shown)}</div>'
    if alike:
        yield f"<p>The same for all tracks: {escape('; '.join(alike))}.</p>"


def _rules(about: About, rules: Sequence[RuleUse]) -> Iterator[str]:
    conditions = {rule["name"]: (rule["when"], rule["chain"]) for rule in about.job.get("rule", ())}
    rows = []
    for use in rules:
        when, chain = conditions.get(
            use.rule, ("" if not conditions else "none of the others", about.job.get("chain", ()))
        )
        stages = " → ".join(stage["stage"] for stage in chain) or "nothing"
        kept = ", ".join(f"{word} {n:,}" for word, n in use.guard.items())
        rows.append((
            escape(use.rule or "default"), f"<code>{escape(when)}</code>", escape(stages), f"{use.tracks:,}",
            format_hours(use.hours * 3600), f"{_number(use.snr_db)} → {_number(use.out_snr_db)}",
            f"{_number(use.loudness_lufs)} → {_number(use.out_loudness_lufs)}", _number(use.lsd_db), escape(kept),
        ))  # fmt: skip
    head = "Rule|When|Chain|#Tracks|#Length|#SNR, dB|#Loudness, LUFS|#Change, dB|Guard"
    note = "Numbers are medians over the rule's tracks. Change: log-spectral distance of the chain's output and input. "
    note += "Guard: tracks whose chain went too far, and ran with half its steps (halved) or was left out (source)."
    yield from _section("What each rule did", [_table(head, rows), f'<p class="soft">{note}</p>'] if rows else [])


def _listen(samples: Sequence[Sample], places: Mapping[str, str]) -> Iterator[str]:
    note = "Best and worst: whose estimated signal-to-noise ratio rose most, and least; changed most: by log-spectral "
    note += "distance. Starting one player stops the other, and goes on at the same place. "
    parts = [f'<p class="soft">{note}{_KEYS}</p>']
    for i, sample in enumerate(samples):
        item = sample.item
        facts = f"SNR {_number(item['snr_db'])} → {_number(item['out_snr_db'])} dB; loudness "
        facts += f"{_number(item['loudness_lufs'])} → {_number(item['out_loudness_lufs'])} LUFS; change "
        facts += f"{_number(item['lsd_db'])} dB; rule {item['rule'] or 'none'}; the first {sample.seconds:.1f} s"
        sides = "".join(
            f'<div><span class="soft">{name}</span>{_player(heard) if heard else f"<p>{escape(sample.problem)}</p>"}'
            f"{places.get(f's{i}{name}', '')}</div>"
            for name, heard in (("before", sample.before), ("after", sample.after))
        )
        head = f'<h3>{escape(item.id)} <span class="tag">{escape(sample.why)}</span></h3>'
        head += f'<p class="soft">{escape(facts)}</p>'
        parts.append(f'<div class="track">{head}<div class="pair">{sides}</div>{places[f"s{i}levels"]}</div>')
    yield from _section("Look and listen", parts if samples else [])


def _end(about: About) -> Iterator[str]:
    job = json.dumps(about.job, indent=2, ensure_ascii=False, default=str)
    yield from _section("The job as it was run", [f"<pre>{escape(job)}</pre>"])
    versions = ", ".join(f"{name} {number}" for name, number in about.made.get("versions", {}).items())
    command = " ".join(map(str, about.made.get("command", ())))
    yield from _section("Made by", [_table("", [
        ("command", f"<code>{escape(command)}</code>"), ("planned", escape(str(about.made.get("time", "")))),
        ("versions", escape(versions)), ("this page", f"corpusdiff {escape(__version__)}"),
    ])])  # fmt: skip


def _section(title: str, parts: Iterable[str]) -> list[str]:
    parts = list(parts)
    return [f"<h2>{escape(title)}</h2>", *parts] if parts else []


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML. Names of columns stand between bars, ``#`` before one of numbers, ``>`` before long text."""
    names = head.split("|") if head else [""] * len(rows[0])
    kinds = [{"#": ' class="n"', ">": ' class="text"'}.get(name[:1], "") for name in names]
    top = "".join(f"<th{kind}>{escape(name.lstrip('#>'))}</th>" for name, kind in zip(names, kinds, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table>{f"<tr>{top}</tr>" if head else ""}{lines}</table></div>'


def _number(value: float) -> str:
    """Three figures that tell something.

    >>> _number(10680.2), _number(-23.04), _number(0.7214), _number(float("nan"))
    ('10,680', '-23.0', '0.721', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 2 else f"{value:.3g}"


def _player(heard: Heard) -> str:
    data = base64.b64encode(heard.ogg).decode("ascii")
    return f'<audio controls preload="metadata" src="data:audio/ogg;base64,{data}"></audio>'
