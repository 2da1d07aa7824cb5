"""Curves on a page that needs nothing else: one HTML file with its scripts inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import UsageError


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Parameters
    ----------
    name : in the legend, where a click hides it
    x, y : (n,) points; those that are no numbers leave gaps
    dots : mark the points
    line : join them
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dots: bool = False
    line: bool = True


@dataclass(frozen=True)
class Panel:
    """One plot.

    Parameters
    ----------
    title, x_label, y_label : its texts
    curves : what it shows
    log_x : whether x grows by factors
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False


def write_html(path: str, title: str, panels: Sequence[Panel]) -> None:
    """Write panels below one another as one page. Raises UsageError where it cannot be written."""
    from bokeh.embed import file_html
    from bokeh.layouts import column
    from bokeh.resources import INLINE

    page = file_html(column(*(_figure(panel) for panel in panels), sizing_mode="stretch_width"), INLINE, title)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error


def _figure(panel: Panel):  # type: ignore[no-untyped-def]  # bokeh is loaded only here
    from bokeh.palettes import Category10_10
    from bokeh.plotting import figure

    plot = figure(
        title=panel.title,
        x_axis_label=panel.x_label,
        y_axis_label=panel.y_label,
        x_axis_type="log" if panel.log_x else "linear",
        height=320,
        sizing_mode="stretch_width",
        tooltips=[("", "$name"), (panel.x_label, "@x"), (panel.y_label, "@y")],
    )
    for i, curve in enumerate(panel.curves):
        colour = Category10_10[i % 10]
        if curve.line:
            plot.line(curve.x, curve.y, name=curve.name, legend_label=curve.name, color=colour, line_width=2)
        if curve.dots:
            plot.scatter(curve.x, curve.y, name=curve.name, legend_label=curve.name, color=colour, size=6)
    if panel.curves:
        plot.legend.click_policy = "hide"
    return plot
