"""The plots of the page: Bokeh's, which a Dask cluster's dashboard brings along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.report.collect import Histogram
from corpusdiff.report.listen import Heard, Sample

#: Colours of before and after, also of the legend in the page; they hold on white and on black.
BEFORE, AFTER = "#8a99a8", "#d9541e"

#: Text and lines that can be read on white and on black.
_INK, _FAINT = "#7b8794", "#8a99a8"

#: Nothing of a plot is taken by a finger that scrolls the page: zooming is chosen in the plot's own bar first.
_TOOLS = "xpan,xbox_zoom,reset,save"


def embed(plots: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The script of all plots, and the place of each by its name."""
    from bokeh.document import Document
    from bokeh.embed import components
    from bokeh.themes import Theme

    axis = {
        "axis_label_text_color": _INK, "major_label_text_color": _INK, "axis_line_color": _FAINT,
        "major_tick_line_color": _FAINT, "minor_tick_line_color": None, "axis_label_text_font_style": "normal",
    }  # fmt: skip
    empty = {"background_fill_color": None, "border_fill_color": None, "outline_line_color": None}
    theme = Theme(
        json={"attrs": {"Axis": axis, "Plot": empty, "Grid": {"grid_line_color": _FAINT, "grid_line_alpha": 0.25}}}
    )
    document = Document()
    with document.models.freeze():  # else each plot that is added has all the others counted anew
        for plot in plots.values():
            document.add_root(plot)
    script, places = components(plots, theme=theme)
    return script, dict(places)


def bars(histogram: Histogram) -> Any:
    """A metric's distribution before and after."""
    plot = _figure(histogram.unit, "tracks", 200)
    plot.yaxis.ticker.min_interval = 1
    plot.y_range.start = 0
    plot.add_tools(_hover([("tracks", "@top"), (histogram.unit or "value", "@left{0.[000]} to @right{0.[000]}")]))
    left, right = histogram.edges[:-1], histogram.edges[1:]
    for counts, colour in ((histogram.before, BEFORE), (histogram.after, AFTER)):
        if counts is not None:
            top = counts.astype(np.float64)
            plot.quad(left=left, right=right, bottom=0, top=top, fill_color=colour, fill_alpha=0.6, line_color=None)
    return plot


def pictures(sample: Sample) -> dict[str, Any]:
    """Spectrograms ``before`` and ``after`` and the levels of both, ``levels``, over one time axis."""
    from bokeh.models import Range1d

    time, frequency = Range1d(start=0, end=sample.seconds), Range1d(start=0, end=sample.sr / 2)
    signals = {"before": sample.before, "after": sample.after}
    plots = {name: _spectrogram(heard.power_db, sample, time, frequency)
             for name, heard in signals.items() if heard is not None}  # fmt: skip
    return plots | {"levels": _levels(((sample.before, BEFORE), (sample.after, AFTER)), sample, time)}


def _levels(signals: Sequence[tuple[Heard | None, str]], sample: Sample, time: Any) -> Any:
    plot = _figure("s", "dBFS", 140, x_range=time)
    plot.add_tools(_hover([("s", "@x{0.00}"), ("dBFS", "@y{0.0}")]))
    for heard, colour in signals:
        if heard is not None:
            x = (np.arange(len(heard.level_db)) + 0.5) * (sample.seconds / len(heard.level_db))
            plot.line(x, np.round(heard.level_db, 1), color=colour, line_width=2)
    return plot


def _spectrogram(power_db: NDArray[np.uint8], sample: Sample, time: Any, frequency: Any) -> Any:
    plot = _figure("s", "kHz", 200, x_range=time, y_range=frequency)
    plot.yaxis.formatter = _kilo()
    plot.grid.visible = False
    plot.image([power_db], x=0, y=0, dw=sample.seconds, dh=sample.sr / 2, palette="Inferno256")
    return plot


def _kilo() -> Any:
    from bokeh.models import CustomJSTickFormatter

    return CustomJSTickFormatter(code="return String(tick / 1000);")


def _figure(x_label: str, y_label: str, height: int, **ranges: Any) -> Any:
    from bokeh.plotting import figure

    plot: Any = figure(x_axis_label=x_label, y_axis_label=y_label, tools=_TOOLS, active_drag=None, height=height,
                       sizing_mode="stretch_width", min_border_right=8, **ranges)  # fmt: skip
    plot.xaxis.ticker.desired_num_ticks = 5  # their labels fit on a telephone
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    return plot


def _hover(tooltips: Sequence[tuple[str, str]]) -> Any:
    from bokeh.models import HoverTool

    return HoverTool(tooltips=list(tooltips))
