"""What a search found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from math import isnan
from typing import Any

import numpy as np

from corpusdiff.plots import Curve, Panel, write_html
from corpusdiff.tuning.search import Trial
from corpusdiff.tuning.tune import Tuned


def tuned_lines(tuned: Tuned) -> Iterator[str]:
    """The result in a few lines."""
    unit = f" {tuned.unit}" if tuned.unit else ""
    yield f"{tuned.objective}: {tuned.before:.4g} to {tuned.after:.4g}{unit} on {len(tuned.tracks[0])} tracks"
    if tuned.tracks[1]:
        yield f"checked on {len(tuned.tracks[1])} others: {tuned.check[0]:.4g} to {tuned.check[1]:.4g}{unit}"
    for key, value in tuned.best.values.items():
        before = tuned.trials[0].values[key]
        yield f"  {key} = {_shown(value)}" + ("" if value == before else f"  (was {_shown(before)})")


def tuned_json(tuned: Tuned) -> dict[str, Any]:
    """The same and every trial, as JSON types."""
    check = [None if isnan(value) else value for value in tuned.check]
    return {
        "objective": tuned.objective,
        "unit": tuned.unit,
        "maximise": tuned.maximise,
        "before": tuned.before,
        "after": tuned.after,
        "check_before": check[0],
        "check_after": check[1],
        "searched": list(tuned.tracks[0]),
        "checked": list(tuned.tracks[1]),
        "values": tuned.best.values,
        "notes": list(tuned.notes),
        "trials": [asdict(trial) for trial in tuned.trials],
    }


def plot_tuned(tuned: Tuned, path: str) -> None:
    """The objective against every parameter, and against what k and steps come to together. Raises UsageError."""
    keys = [key for key, value in tuned.best.values.items() if isinstance(value, int | float)]
    label = f"{tuned.objective}, {tuned.unit}" if tuned.unit else tuned.objective
    panels = [_panel(tuned, key, label, lambda trial, key=key: trial.values[key]) for key in keys]
    for key in keys:
        stage, _, name = key.rpartition(".")
        if name == "k" and f"{stage}.steps" in keys:
            panels.insert(0, _panel(tuned, f"{stage}: (1 + k)^steps", label, lambda trial, s=stage: _factor(trial, s)))
    write_html(path, f"{tuned.job.name}, tuned for {tuned.objective}", panels)


def _panel(tuned: Tuned, title: str, label: str, value_of: Any) -> Panel:
    heard = [trial for trial in tuned.trials if trial.score is not None]

    def curve(name: str, trials: list[Trial]) -> Curve:
        found = [(value_of(trial), trial.score) for trial in trials if value_of(trial) is not None]
        x, y = np.array(found, np.float64).reshape(-1, 2).T
        return Curve(name, x, y, dots=True, line=False)

    curves = [curve("trials", heard), curve("as it was", heard[:1]), curve("best", [tuned.best])]
    return Panel(title, title, label, curves)


def _factor(trial: Trial, stage: str) -> float:
    return float((1 + trial.values[f"{stage}.k"]) ** trial.values[f"{stage}.steps"])


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
