"""The page itself: one HTML file with its scripts, pictures and sounds inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff import __version__
from corpusdiff.report.collect import Collected, Histogram, RuleUse
from corpusdiff.report.listen import Heard, Sample

_BEFORE, _AFTER = "#9aa5b1", "#c2410c"

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1f2933; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #cbd2d9; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem; }
.track { border: 1px solid #cbd2d9; border-radius: .4rem; padding: .8rem 1rem; margin: 1rem 0; }
.track h3 { margin: 0; overflow-wrap: anywhere; } .why { color: #52606d; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } audio { width: 100%; }
pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; } code { overflow-wrap: anywhere; }
"""


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
    from bokeh.embed import components
    from bokeh.resources import Resources

    histograms = {f"h{i}": _bars(histogram) for i, histogram in enumerate(found.histograms)}
    pictures = {f"s{i}": _pictures(sample) for i, sample in enumerate(samples)}
    script, places = components(histograms | pictures) if histograms or pictures else ("", {})
    body = "\n".join(
        [
            *_top(about, found),
            *_failures(found),
            *_section("Before and after", [_figures(found, places)] if histograms else []),
            *_rules(found.rules),
            *_listen(samples, places),
            *_end(about),
        ]
    )
    resources = Resources(mode="inline", components=["bokeh"]).render() if places else ""
    title = escape(f"corpusdiff: {about.out}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n{resources}\n{script}\n</head><body>\n{body}\n</body></html>\n"
    )


def _top(about: About, found: Collected) -> Iterator[str]:
    yield f"<h1>{escape(about.out)}</h1>"
    counts = [("Tracks", f"{sum(found.counts.values()):,}")]
    counts += [(status, f"{n:,}") for status, n in sorted(found.counts.items(), key=lambda pair: pair[0] != "ok")]
    counts += [("Hours in", f"{found.hours:,.2f}"), ("Hours out", f"{found.out_hours:,.2f}")]
    counts += [("Job", escape(str(about.job.get("name", ""))))]
    yield _table((), counts)


def _failures(found: Collected) -> Iterator[str]:
    rows = [
        (escape(failure.reason), f"{failure.tracks:,}", "<br>".join(f"<code>{escape(track)}</code>: {escape(error)}"
                                                                  for track, error in failure.examples))
        for failure in found.failures
    ]  # fmt: skip
    yield from _section("What failed", [_table(("Reason", "Tracks", "For example"), rows)] if rows else [])


def _figures(found: Collected, places: Mapping[str, str]) -> str:
    shown = "".join(f"<div>{places[f'h{i}']}</div>" for i in range(len(found.histograms)))
    return f'<div class="plots">{shown}</div>'


def _rules(rules: Sequence[RuleUse]) -> Iterator[str]:
    rows = [
        (escape(use.rule) or "none matched", f"{use.tracks:,}", f"{use.hours:,.2f}", _number(use.snr_db),
         _number(use.out_snr_db), _number(use.lsd_db))
        for use in rules
    ]  # fmt: skip
    head = ("Rule", "Tracks", "Hours", "SNR before, dB", "SNR after, dB", "Change (LSD), dB")
    yield from _section(
        "What each rule did", [_table(head, rows), "<p>Medians over the rule's tracks.</p>"] if rows else []
    )


def _listen(samples: Sequence[Sample], places: Mapping[str, str]) -> Iterator[str]:
    parts = []
    for i, sample in enumerate(samples):
        item = sample.item
        facts = f"{sample.why}; rule {item['rule'] or 'none'}; change {_number(item['lsd_db'])} dB; SNR "
        facts += f"{_number(item['snr_db'])} to {_number(item['out_snr_db'])} dB; first {sample.seconds:.1f} s"
        before = _player(sample.before) if sample.before else f"<p>{escape(sample.problem)}</p>"
        players = f"<div>before{before}</div><div>after{_player(sample.after)}</div>"
        head = f'<h3>{escape(item.id)}</h3><p class="why">{escape(facts)}</p>'
        parts.append(f'<div class="track">{head}<div class="pair">{players}</div>{places[f"s{i}"]}</div>')
    yield from _section("Listen", parts)


def _end(about: About) -> Iterator[str]:
    job = json.dumps(about.job, indent=2, ensure_ascii=False, default=str)
    yield from _section("The job as it was run", [f"<pre>{escape(job)}</pre>"])
    versions = ", ".join(f"{name} {number}" for name, number in about.made.get("versions", {}).items())
    command = " ".join(map(str, about.made.get("command", ())))
    yield from _section("Made by", [_table((), [
        ("command", f"<code>{escape(command)}</code>"), ("time", escape(str(about.made.get("time", "")))),
        ("versions", escape(versions)), ("this page", f"corpusdiff {escape(__version__)}"),
    ])])  # fmt: skip


def _section(title: str, parts: Iterable[str]) -> list[str]:
    parts = list(parts)
    return [f"<h2>{escape(title)}</h2>", *parts] if parts else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{lines}</table>"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _player(heard: Heard) -> str:
    data = base64.b64encode(heard.ogg).decode("ascii")
    return f'<audio controls preload="metadata" src="data:audio/ogg;base64,{data}"></audio>'


def _bars(histogram: Histogram) -> Any:
    from bokeh.plotting import figure

    before, after = histogram.medians
    medians = f"median {after:.4g}" if before is None else f"median {before:.4g} to {after:.4g}"
    plot = figure(
        title=f"{histogram.title} ({medians} {histogram.unit})".replace(" )", ")"),
        x_axis_label=histogram.unit,
        y_axis_label="tracks",
        tooltips=[("tracks", "@top"), (histogram.unit, "@left to @right")],
        height=240,
        sizing_mode="stretch_width",
    )
    left, right = histogram.edges[:-1], histogram.edges[1:]
    for name, counts, colour in (("before", histogram.before, _BEFORE), ("after", histogram.after, _AFTER)):
        if counts is not None:
            top = counts.astype(np.float64)
            plot.quad(left=left, right=right, bottom=0, top=top, color=colour, alpha=0.55, legend_label=name)
    plot.legend.click_policy = "hide"
    return plot


def _pictures(sample: Sample) -> Any:
    from bokeh.layouts import column, row

    signals = (("before", sample.before, _BEFORE), ("after", sample.after, _AFTER))
    shown = [_spectrogram(heard.power_db, sample) for _, heard, _ in signals if heard is not None]
    return column(row(*shown, sizing_mode="stretch_width"), _levels(signals, sample), sizing_mode="stretch_width")


def _levels(signals: Iterable[tuple[str, Heard | None, str]], sample: Sample) -> Any:
    from bokeh.plotting import figure

    plot = figure(
        x_axis_label="s",
        y_axis_label="dBFS",
        tooltips=[("s", "@x"), ("dBFS", "@y")],
        height=160,
        sizing_mode="stretch_width",
    )
    for name, heard, colour in signals:
        if heard is not None:
            x = np.linspace(0, sample.seconds, len(heard.level_db))
            plot.line(x, np.round(heard.level_db, 1), color=colour, line_width=2, legend_label=name)
    plot.legend.click_policy = "hide"
    return plot


def _spectrogram(power_db: NDArray[np.uint8], sample: Sample) -> Any:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot: Any = figure(
        x_axis_label="s",
        y_axis_label="Hz",
        x_range=Range1d(start=0, end=sample.seconds),
        y_range=Range1d(start=0, end=sample.sr / 2),
        tools="pan,wheel_zoom,reset",
        height=220,
        sizing_mode="stretch_width",
    )
    plot.image([power_db], x=0, y=0, dw=sample.seconds, dh=sample.sr / 2, palette="Inferno256")
    return plot
