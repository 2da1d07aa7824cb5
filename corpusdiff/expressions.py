"""Conditions in words that people know: ``snr_db < 10 and lang == "zh"``. Values, never code.

One language for the rules of a job and for choosing rows of a table: names, numbers, texts in quotes, lists in square
brackets; ``and or not``, ``< <= == != >= > in``, also in chains (``3 < duration_s < 20``), ``+ - * / // %``, and the
functions in `FUNCTIONS`. A comparison with a missing value, or of what cannot be compared, is false. A text that spells
a number is compared with numbers as one, since CSV knows nothing but texts.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from corpusdiff.errors import ParameterError

#: Characters of a condition, at most.
MAX_LENGTH = 2000

#: What an expression may consist of. There are no attributes, no subscripts, no powers, no calls but of `FUNCTIONS`.
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.Call, ast.List, ast.Tuple,
)  # fmt: skip

_VALUES = (bool, int, float, str, type(None))


class Expression:
    """A condition on named values.

    Parameters
    ----------
    text : what the user wrote

    Attributes
    ----------
    body : its syntax tree, of allowed nodes only
    names : the values that it asks for

    Raises
    ------
    ParameterError : what is wrong with it, and what to write instead

    >>> Expression('snr_db < 10 and lang == "zh"').holds({"snr_db": 5.0, "lang": "zh"})
    True
    >>> Expression("snr_db < 10").holds({"snr_db": float("nan")})
    False
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise ParameterError("when", f"got {len(text)} characters; give at most {MAX_LENGTH}")
        try:
            tree = ast.parse(text.strip(), mode="eval")
            for node in ast.walk(tree):
                _check(node)
        except SyntaxError as error:
            raise ParameterError("when", f"{text!r} is no condition: {error.msg}; write e.g. snr_db < 10") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ParameterError("when", f"{short(text)} is no condition: {error}; write e.g. snr_db < 10") from error
        self.body = tree.body
        self.names = frozenset(_names(tree))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is true of `values`; names that are absent are missing values."""
        evaluator = self._evaluator
        evaluator.names = _Values(values)
        evaluator.functions["field"] = values.get
        found = evaluator.eval(self.text, previously_parsed=self.body)
        return not missing(found) and bool(found)

    def check_names(self, known: Iterable[str]) -> None:
        """Raise ParameterError for a name that is not in `known`, with the one that was meant."""
        there = sorted(known)
        for name in sorted(self.names - set(there)):
            near = nearest(name, there)
            meant = f": did you mean {near}?" if near else f"; there are {', '.join(there)}"
            raise ParameterError("when", f"{self.text!r}: there is no {name}{meant}")

    @cached_property
    def _evaluator(self) -> Any:
        import simpleeval  # on first use: few runs have rules

        return simpleeval.EvalWithCompoundTypes(operators=_OPERATORS, functions=dict(FUNCTIONS))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant: one that begins so and goes on with a unit, else the most alike.

    >>> nearest("snr", ["sr", "snr_db", "out_snr_db"]), nearest("langg", ["lang", "sr"]), nearest("x", ["sr"])
    ('snr_db', 'lang', None)
    """
    there = sorted(known)
    longer = [found for found in there if found.startswith(f"{name}_")]
    return next(iter(longer or difflib.get_close_matches(name, there, 1)), None)


def missing(value: object) -> bool:
    """Whether a value is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def short(text: str) -> str:
    """A text for a message, not too long."""
    return repr(text) if len(text) < 80 else repr(text[:77]) + "..."


class _Values(dict[str, Any]):
    """What names stand for; absent ones are missing values."""

    def __missing__(self, name: str) -> None:
        return None


#: How many values a function takes; those that are not here take any number but none.
_ARGUMENTS = {"abs": 1, "len": 1, "lower": 1, "startswith": 2, "endswith": 2, "missing": 1, "field": 1}


def _check(node: ast.AST) -> None:
    if not isinstance(node, _ALLOWED):
        raise ValueError(f"{type(node).__name__} has no place in it")
    if isinstance(node, ast.Constant) and not isinstance(node.value, _VALUES):
        raise ValueError(f"{node.value!r} has no place in it")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise ValueError(f"the functions are {', '.join(FUNCTIONS)}")
        most = _ARGUMENTS.get(node.func.id, 100)
        if not (1 if most == 100 else most) <= len(node.args) <= most:
            raise ValueError(f"{node.func.id} takes {'at least 1' if most == 100 else most}, not {len(node.args)}")
        if node.func.id == "field" and not (len(node.args) == 1 and isinstance(node.args[0], ast.Constant)):
            raise ValueError('field takes one name in quotes, e.g. field("speaker-id")')


def _names(tree: ast.AST) -> Iterable[str]:
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in called:
            yield node.id
    for call in called.values():
        if isinstance(call.func, ast.Name) and call.func.id == "field" and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """The two, a text beside a number read as one where it spells one."""
    numbers = (bool, int, float)
    if isinstance(a, str) and isinstance(b, numbers):
        return _number(a), b
    if isinstance(b, str) and isinstance(a, numbers):
        return a, _number(b)
    return a, b


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def holds(a: Any, b: Any) -> bool:
        if missing(a) or missing(b):
            return False
        try:
            return bool(compare(*_alike(a, b)))
        except TypeError:
            return False

    return holds


def _computed(compute: Callable[..., Any]) -> Callable[..., Any]:
    def value(*numbers: Any) -> Any:
        if any(missing(number) for number in numbers):
            return None
        try:
            return compute(*(_number(number) if isinstance(number, str) else number for number in numbers))
        except (TypeError, ValueError, ArithmeticError):
            return None

    return value


def _of_texts(compute: Callable[..., Any]) -> Callable[..., Any]:
    def value(*texts: Any) -> Any:
        return compute(*texts) if all(isinstance(text, str) for text in texts) else None

    return value


def _among(a: Any, values: Any) -> bool:
    if isinstance(values, str):
        return isinstance(a, str) and a in values
    return any(_compared(operator.eq)(a, value) for value in values)


def _plus(a: float, b: float) -> float:
    if isinstance(a, str) or isinstance(b, str):
        raise TypeError("texts are not added")
    return a + b


def _times(a: float, b: float) -> float:
    if isinstance(a, str) or isinstance(b, str):
        raise TypeError("texts are not multiplied")
    return a * b


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: _compared(operator.lt),
    ast.LtE: _compared(operator.le),
    ast.Gt: _compared(operator.gt),
    ast.GtE: _compared(operator.ge),
    ast.Eq: _compared(operator.eq),
    ast.NotEq: _compared(operator.ne),
    ast.In: _compared(_among),
    ast.NotIn: _compared(lambda a, values: not _among(a, values)),
    ast.Add: _computed(_plus),
    ast.Sub: _computed(operator.sub),
    ast.Mult: _computed(_times),
    ast.Div: _computed(operator.truediv),
    ast.FloorDiv: _computed(operator.floordiv),
    ast.Mod: _computed(math.fmod),
    ast.USub: _computed(operator.neg),
    ast.UAdd: _computed(operator.pos),
    ast.Not: lambda a: missing(a) or not a,
}

#: What may be called. ``field("speaker-id")`` is for names that are no words of the language.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": _computed(abs),
    "min": _computed(min),
    "max": _computed(max),
    "len": lambda value: len(value) if isinstance(value, str | list | tuple | dict) else None,
    "lower": _of_texts(str.lower),
    "startswith": _of_texts(str.startswith),
    "endswith": _of_texts(str.endswith),
    "missing": missing,
    "field": lambda name: name,
}
