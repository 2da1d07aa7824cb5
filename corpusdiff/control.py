"""Parameters that change while a chain runs, without a click.

At a change the old and the new chain both go on from the state that is there, and their outputs are faded into one
another. That asks for a state that fits both: see `carried_over`.
"""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.jobset import value_of
from corpusdiff.stages.base import Audio, Signal, Stage, State
from corpusdiff.stages.chain import Chain

#: Length of the fade from the old parameters to the new ones, in seconds.
FADE_S = 0.03


@dataclass(frozen=True)
class Setting:
    """One line of control.

    Parameters
    ----------
    stage : name of a stage, or its number in the chain from 0
    parameter : its parameter
    value : what it becomes
    """

    stage: str
    parameter: str
    value: Any

    @classmethod
    def parse(cls, line: str) -> Setting:
        """``level.steps=4``, ``0.k=-0.2``. Raises ParameterError.

        >>> Setting.parse("level.steps = 4")
        Setting(stage='level', parameter='steps', value=4)
        """
        key, equals, text = line.partition("=")
        parts = key.strip().removeprefix("chain.").split(".")
        if not equals or len(parts) != 2 or not all(parts) or not text.strip():
            raise ParameterError("control", "expected STAGE.PARAMETER=VALUE, e.g. level.steps=4 or 0.k=-0.2")
        return cls(parts[0], parts[1], value_of(text.strip()))

    def of(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """The stages with this setting. Raises ParameterError."""
        index = self._index([stage.name for stage in stages])
        changed = _with_value(stages[index], self.parameter, self.value)
        return (*stages[:index], changed, *stages[index + 1 :])

    def _index(self, names: list[str]) -> int:
        if self.stage.isdecimal() and int(self.stage) < len(names):
            return int(self.stage)
        if names.count(self.stage) == 1:
            return names.index(self.stage)
        there = ", ".join(f"{i} {name}" for i, name in enumerate(names)) or "none"
        problem = "names more than one, give its number" if self.stage in names else "is no stage of this chain"
        raise ParameterError(self.stage, f"{problem}; there are {there}")


def _with_value(stage: Any, name: str, value: Any) -> Stage:
    known = [item.name for item in fields(stage)]
    if name not in known:
        raise ParameterError(name, f"{stage.name} has no such parameter; it has {', '.join(known)}")
    before = getattr(stage, name)
    if isinstance(before, float) and type(value) is int:
        value = float(value)
    if isinstance(value, (list, dict)) or (before is not None and type(value) is not type(before)):
        raise ParameterError(name, f"got {value!r} where {stage.name} has {before!r}; give a value of that kind")
    changed: Stage = replace(stage, **{name: value})
    return changed


class Adjustable:
    """A running chain whose parameters may change; its latency is taken out.

    Parameters
    ----------
    stages : in order
    sig : what they are given
    """

    def __init__(self, stages: tuple[Stage, ...], sig: Signal) -> None:
        self._stages = stages
        self._sig = sig
        self._chain = Chain(stages)
        self._state = self._chain.initial_state(sig)
        self._drop = self._chain.latency(sig)
        self._fade: _Fade | None = None

    @property
    def is_fading(self) -> bool:
        """Whether the last change is still on its way, and the next one has to wait for it."""
        return self._fade is not None and self._fade.has_begun

    def change(self, setting: Setting) -> None:
        """Change a parameter from the next sample on; several changes before a step are one.

        Raises ParameterError, and then nothing has changed.
        """
        assert not self.is_fading
        stages = setting.of(self._stages)
        chain = Chain(stages)
        if chain.latency(self._sig) != self._chain.latency(self._sig):
            raise ParameterError(setting.parameter, "changes the latency: start the stream anew with it")
        fresh, first = chain.initial_state(self._sig), self._chain.initial_state(self._sig)
        try:
            state = carried_over(self._state, first, fresh)
        except ValueError as error:
            raise ParameterError(setting.parameter, f"{error}: start the stream anew with it") from error
        self._fade = self._fade or _Fade(self._chain, self._state, round(FADE_S * self._sig.sr), self._sig)
        self._stages, self._chain, self._state = stages, chain, state

    def step(self, x: Audio) -> Audio:
        """(n_channels + n_references, n) in; (n_channels, n) out, fewer while the latency lasts."""
        y, self._state = self._chain.step(x, self._state, self._sig)
        if self._fade is not None:
            y = self._fade.step(x, y)
            if self._fade.is_over:
                self._fade = None
        dropped = min(self._drop, y.shape[1])
        self._drop -= dropped
        return y[:, dropped:]

    def finish(self) -> Audio:
        """What the chain still holds."""
        y = self._chain.flush(self._state, self._sig)
        if self._fade is not None:
            y = self._fade.finish(y)
        return y[:, self._drop :]


class _Fade:
    """The old chain, on its way out."""

    def __init__(self, chain: Chain, state: State, length: int, sig: Signal) -> None:
        self._chain, self._state, self._sig, self._length = chain, state, sig, length
        self._weights = (0.5 + 0.5 * np.cos(np.pi * (np.arange(length) + 1) / (length + 1))).astype(np.float32)

    @property
    def has_begun(self) -> bool:
        return len(self._weights) < self._length

    @property
    def is_over(self) -> bool:
        return not len(self._weights)

    def step(self, x: Audio, y: Audio) -> Audio:
        """`y` of the new chain with what is left of the old one's answer to `x`."""
        old, self._state = self._chain.step(x[:, : len(self._weights)], self._state, self._sig)
        return self._blend(old, y)

    def finish(self, y: Audio) -> Audio:
        return self._blend(self._chain.flush(self._state, self._sig)[:, : len(self._weights)], y)

    def _blend(self, old: Audio, y: Audio) -> Audio:
        n = old.shape[1]
        weights, self._weights = self._weights[:n], self._weights[n:]
        return np.concatenate([y[:, :n] + weights * (old - y[:, :n]), y[:, n:]], axis=1)


def carried_over(state: State, first: State, fresh: State) -> State:
    """The state with which other parameters go on.

    What the parameters do not enter, they share: where the initial states of old (`first`) and new (`fresh`) agree,
    the part that is there stays. Where they differ, the part is taken from the new one, if nothing has happened to it
    since the beginning (a constant that was worked out beforehand). Raises ValueError where neither holds.
    """
    if _is_leaf(first) or type(first) is not type(fresh) or len(first) != len(fresh) or len(state) != len(first):
        if _same(first, fresh):
            return state
        if _same(state, first):
            return fresh
        raise ValueError("is built into what the stage remembers")
    parts = [carried_over(*parts) for parts in zip(state, first, fresh, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def _is_leaf(state: State) -> bool:
    return not isinstance(state, (tuple, list))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return pickle.dumps(one) == pickle.dumps(other)


class ControlFile:
    """Lines of control as they are written to a FIFO or a file.

    Parameters
    ----------
    path : a FIFO, or a file to which lines are appended
    complain : called with what is wrong with a line

    Raises
    ------
    UsageError : there is no such file, or it cannot be read
    """

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._rest = b""
        try:
            mode = Path(path).stat().st_mode
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}: make a pipe for control with `mkfifo {path}`") from error
        if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
            self.close()
            raise UsageError(f"{path}: neither a pipe nor a file: make a pipe for control with `mkfifo {path}`")

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def settings(self) -> Iterator[Setting]:
        """What has come since the last time; never waits. Lines that say nothing are complained about."""
        try:
            self._rest += os.read(self._fd, 1 << 16)
        except BlockingIOError:  # a writer is there, and silent
            return
        *lines, self._rest = self._rest.split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace").strip()
            if not line or line.startswith("#"):
                continue
            try:
                yield Setting.parse(line)
            except ParameterError as error:
                self._complain(f"{line}: {error}")
