"""Rows of a corpus that fulfil a condition: the expression language of the rules, on whole columns.

A column at a time, but for lists of a manifest and for what only single values have: there row by row, up to a
hundred times slower and with the same result.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.expressions import Expression
from corpusdiff.store.columns import CHUNK_ROWS, MISSING, Column, field_from_column

if TYPE_CHECKING:
    from corpusdiff.store.read import Corpus

Mask = NDArray[np.bool_]


def select(corpus: Corpus, where: str | None, stretch: tuple[int, int] | None = None) -> NDArray[np.int64]:
    """Indices of the rows for which `where` holds, ascending; all rows when it is None.

    Of a `stretch`, first and the one after the last, alone where it is given.
    Only the columns that are named are read, 65 536 rows at a time. Raises UsageError for a condition that cannot be
    read, or names what the table has not.
    """
    start, stop = stretch or (0, len(corpus))
    if where is None:
        return np.arange(start, stop)
    try:
        condition = Expression(where)
        names = {column.name: column for column in corpus.columns}
        fields = {column.source: column for column in corpus.columns if column.kind == "field"}
        columns = fields | names  # a field under its own name, unless that is another column's
        condition.check_names(columns)
    except ParameterError as error:
        raise UsageError(f"--where: {error.problem}") from error
    found = []
    for first in range(start - start % CHUNK_ROWS, stop, CHUNK_ROWS):
        n = min(CHUNK_ROWS, len(corpus) - first)
        values = {name: (columns[name], corpus.chunk(columns[name].name, first // CHUNK_ROWS)[:n])
                  for name in condition.names}  # fmt: skip
        found.append(first + np.flatnonzero(_mask(condition, values, n)))
    rows = np.concatenate(found) if found else np.zeros(0, np.int64)
    return rows[(rows >= start) & (rows < stop)]


def _mask(condition: Expression, values: Mapping[str, tuple[Column, NDArray[Any]]], n: int) -> Mask:
    try:
        return _Vector(values, n).truth(condition.body)
    except _Unsuited:
        names = list(values)
        columns = [_plain(*values[name]) for name in names]
        return np.fromiter(
            (condition.holds(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)), bool, n
        )


def _plain(column: Column, values: NDArray[Any]) -> list[Any]:
    """A column's values as a manifest or a row would give them, None for what is missing."""
    if column.kind == "field":
        return [field_from_column(value, column.type) for value in values.tolist()]
    return values.tolist()


class _Unsuited(Exception):
    """The condition, or a part of it, is not for whole columns."""


class _Numbers:
    """Numbers of all rows, NaN where they are missing."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values


class _Texts:
    """Texts of all rows; none is missing, for the table cannot tell an empty one from one that is absent."""

    def __init__(self, values: NDArray[np.object_]) -> None:
        self.values = values


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip

_COMPUTE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide, ast.Mod: np.fmod,
}  # fmt: skip

#: Those of which zero cannot be the second operand.
_DIVIDE = (ast.Div, ast.FloorDiv, ast.Mod)

_OF_TEXTS: dict[str, Callable[[str, str], bool]] = {"startswith": str.startswith, "endswith": str.endswith}

_OF_NUMBERS: dict[str, np.ufunc] = {"min": np.minimum, "max": np.maximum}


class _Vector:
    """Evaluates the tree of a condition on columns.

    Parameters
    ----------
    values : columns by name
    n : their length
    """

    def __init__(self, values: Mapping[str, tuple[Column, NDArray[Any]]], n: int) -> None:
        self._values = values
        self._n = n

    def truth(self, node: ast.expr) -> Mask:
        """Where a part that is a condition holds. Raises _Unsuited."""
        if isinstance(node, ast.BoolOp):
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return combine.reduce([self.truth(part) for part in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [self._compared(op, a, b) for op, a, b in zip(node.ops, sides[:-1], sides[1:], strict=True)]
            return np.logical_and.reduce(parts)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._called(node.func.id, node.args)
        if isinstance(node, ast.Name) and self._values[node.id][0].dtype in {"string", "int64"}:
            found = _column(*self._values[node.id])
            return (found.values != "") if isinstance(found, _Texts) else (found.values != 0) & ~self._missing(found)
        raise _Unsuited

    def _called(self, name: str, args: Sequence[ast.expr]) -> Mask:
        """Where a function holds that is a condition."""
        operands = [self._operand(arg) for arg in args]
        if name == "missing":
            return self._missing(operands[0])
        if name in _OF_TEXTS and all(isinstance(operand, _Texts) for operand in operands):
            return self._by_text(_OF_TEXTS[name], *operands)
        raise _Unsuited

    def _by_text(self, holds: Callable[[str, str], bool], a: _Numbers | _Texts, b: _Numbers | _Texts) -> Mask:
        return np.fromiter(map(holds, a.values, b.values), bool, self._n)

    def _compared(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Mask:
        if isinstance(op, ast.In | ast.NotIn):
            return self._among(left, right, inside=isinstance(op, ast.In))
        return self._related(_COMPARE[type(op)], self._operand(left), self._operand(right))

    def _related(self, compare: Callable[[Any, Any], Any], a: _Numbers | _Texts, b: _Numbers | _Texts) -> Mask:
        if isinstance(a, _Texts) and isinstance(b, _Texts):
            return np.asarray(compare(a.values, b.values), bool)
        (x, is_number_a), (y, is_number_b) = _spelled(a), _spelled(b)
        with np.errstate(invalid="ignore"):
            found = np.asarray(compare(x, y), bool)
        alike = is_number_a & is_number_b
        found = np.where(alike, found, compare is operator.ne)  # a text that is no number differs from every number
        return found & ~self._missing(a) & ~self._missing(b)

    def _among(self, left: ast.expr, right: ast.expr, *, inside: bool) -> Mask:
        if not isinstance(right, ast.List | ast.Tuple):
            part, whole = self._operand(left), self._operand(right)
            if not isinstance(part, _Texts) or not isinstance(whole, _Texts):
                raise _Unsuited
            return self._by_text(operator.contains, whole, part) == inside
        found = np.zeros(self._n, bool)
        for item in right.elts:
            found |= self._compared(ast.Eq(), left, item)
        return found if inside else ~found & ~self._missing(self._operand(left))

    def _operand(self, node: ast.expr) -> _Numbers | _Texts:
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.Name):
            return _column(*self._values[node.id])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._computed(node.func.id, node.args)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _Numbers(-self._number(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTE:
            a, b = self._number(node.left), self._number(node.right)
            with np.errstate(all="ignore"):
                found = _COMPUTE[type(node.op)](a, b)
            return _Numbers(np.where(b == 0, np.nan, found) if isinstance(node.op, _DIVIDE) else found)
        raise _Unsuited

    def _computed(self, name: str, args: Sequence[ast.expr]) -> _Numbers | _Texts:
        """What a function gives that is not a condition."""
        if name == "field":
            assert isinstance(args[0], ast.Constant)
            return _column(*self._values[str(args[0].value)])
        if name == "abs":
            return _Numbers(np.abs(self._number(args[0])))
        if name in _OF_NUMBERS and len(args) > 1:
            return _Numbers(_OF_NUMBERS[name].reduce([self._number(arg) for arg in args]))
        texts = self._operand(args[0])
        if name not in {"len", "lower"} or not isinstance(texts, _Texts):
            raise _Unsuited
        if name == "len":
            return _Numbers(np.fromiter(map(len, texts.values), np.float64, self._n))
        return _Texts(np.fromiter(map(str.lower, texts.values), object, self._n))

    def _number(self, node: ast.expr) -> NDArray[np.float64]:
        found = self._operand(node)
        if not isinstance(found, _Numbers):
            raise _Unsuited
        return found.values

    def _constant(self, value: object) -> _Numbers | _Texts:
        if isinstance(value, str):
            return _Texts(np.full(self._n, value, object))
        if isinstance(value, int | float):
            return _Numbers(np.full(self._n, float(value)))
        raise _Unsuited

    @staticmethod
    def _missing(found: _Numbers | _Texts) -> Mask:
        return np.isnan(found.values) if isinstance(found, _Numbers) else np.zeros(len(found.values), bool)


def _spelled(found: _Numbers | _Texts) -> tuple[NDArray[np.float64], Mask]:
    """Numbers of all rows, and whether there is one: a text may spell it."""
    if isinstance(found, _Numbers):
        return found.values, np.ones(len(found.values), bool)
    numbers = np.empty(len(found.values))
    spells = np.ones(len(numbers), bool)
    for i, text in enumerate(found.values):
        try:
            numbers[i] = float(text)
        except ValueError:
            spells[i] = False
    return numbers, spells


def _column(column: Column, values: NDArray[Any]) -> _Numbers | _Texts:
    if column.dtype != "string":
        numbers = values.astype(np.float64)
        if column.kind == "field" and column.dtype == "int64":
            numbers[values == MISSING] = np.nan
        return _Numbers(numbers)
    if column.type == "json":
        raise _Unsuited
    return _Texts(values)
