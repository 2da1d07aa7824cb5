"""The search itself: candidates are asked in batches, heard together, and told in their order.

So the outcome depends on the seed and on the size of a batch, and not on who heard what when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from corpusdiff.errors import UsageError
from corpusdiff.tuning.space import Dimension, Space

#: Candidates that are heard together. More of them would use more workers, and learn less from one another.
BATCH = 4

#: So many candidates are drawn at random before the sampler believes what it has seen.
_STARTUP = 8


@dataclass(frozen=True)
class Trial:
    """One candidate and what came of it.

    Parameters
    ----------
    number : 0 is the job as it was
    values : by key
    score : the objective, None where it could not be had
    problem : why
    """

    number: int
    values: dict[str, Any]
    score: float | None
    problem: str = ""


#: From candidates to their trials, of the given numbers on.
Hear: TypeAlias = Callable[[Sequence[dict[str, Any]], int], list[Trial]]


def search(space: Space, hear: Hear, first: Trial, n_trials: int, seed: int, *, maximise: bool) -> Iterator[Trial]:
    """Trials as they are told, `n_trials` of them, after `first` (the job as it was), which comes along.

    Candidates come from the tree-structured Parzen estimator (Bergstra et al. 2011) as Optuna has it. A trial that
    failed teaches nothing but where not to look. Raises UsageError where Optuna is missing.
    """
    optuna = _optuna()
    yield first
    study = optuna.create_study(
        direction="maximize" if maximise else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP),
    )
    distributions = {d.key: _distribution(optuna, d) for d in space.dimensions}
    if all(d.holds(first.values[d.key]) for d in space.dimensions):
        study.add_trial(optuna.trial.create_trial(params=first.values, distributions=distributions, value=first.score))
    told = 1
    while told <= n_trials:
        asked = [study.ask(distributions) for _ in range(min(BATCH, n_trials + 1 - told))]
        heard = hear([dict(trial.params) for trial in asked], told)
        for trial, found in zip(asked, heard, strict=True):
            if found.score is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, found.score)
            yield found
        told += len(asked)


def better(a: float, b: float, *, maximise: bool) -> bool:
    """Whether a is better than b."""
    return a > b if maximise else a < b


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial:
    """The best; of equals the first. There is always the job as it was."""
    heard = [trial for trial in trials if trial.score is not None]
    return min(heard, key=lambda trial: (-1 if maximise else 1) * (trial.score or 0.0))


def _distribution(optuna: Any, d: Dimension) -> Any:
    if d.choices:
        return optuna.distributions.CategoricalDistribution(d.choices)
    if d.whole:
        return optuna.distributions.IntDistribution(round(d.low), round(d.high), log=d.log)
    return optuna.distributions.FloatDistribution(d.low, d.high, log=d.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("tune needs Optuna: pip install 'corpusdiff[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
