"""Rows of a corpus that fulfil a condition: the expression language of the rules, on whole columns.

A column at a time where the condition is made of comparisons with constants, arithmetic of numbers, ``and``, ``or``,
``not``, ``in`` and ``missing``; row by row, a hundred times slower and with the same result, where it is not.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.expressions import Expression
from corpusdiff.store.columns import CHUNK_ROWS, MISSING, Column, field_from_column
from corpusdiff.store.read import Corpus

Mask = NDArray[np.bool_]


def select(corpus: Corpus, where: str | None) -> NDArray[np.int64]:
    """Indices of the rows for which `where` holds, ascending; all rows when it is None.

    Only the columns that are named are read, 65 536 rows at a time. Raises UsageError for a condition that cannot be
    read, or names what the table has not.
    """
    if where is None:
        return np.arange(len(corpus))
    try:
        condition = Expression(where)
        names = {column.name: column for column in corpus.columns}
        fields = {column.source: column for column in corpus.columns if column.kind == "field"}
        columns = fields | names  # a field under its own name, unless that is another column's
        condition.check_names(columns)
    except ParameterError as error:
        raise UsageError(f"--where: {error.problem}") from error
    found = []
    for first in range(0, len(corpus), CHUNK_ROWS):
        n = min(CHUNK_ROWS, len(corpus) - first)
        values = {name: (columns[name], corpus.chunk(columns[name].name, first // CHUNK_ROWS)[:n])
                  for name in condition.names}  # fmt: skip
        found.append(first + np.flatnonzero(_mask(condition, values, n)))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


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
    """Texts of all rows, and where they are missing."""

    def __init__(self, values: NDArray[np.object_], missing: Mask) -> None:
        self.values = values
        self.missing = missing


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip

_COMPUTE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip


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
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "missing":
            return self._missing(self._operand(node.args[0]))
        raise _Unsuited

    def _compared(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Mask:
        if isinstance(op, ast.In | ast.NotIn):
            return self._among(left, right, inside=isinstance(op, ast.In))
        a, b = self._operand(left), self._operand(right)
        compare = _COMPARE[type(op)]
        if isinstance(a, _Numbers) and isinstance(b, _Numbers):
            with np.errstate(invalid="ignore"):
                return np.asarray(compare(a.values, b.values), bool) & ~np.isnan(a.values) & ~np.isnan(b.values)
        if isinstance(a, _Texts) and isinstance(b, _Texts):
            return np.asarray(compare(a.values, b.values), bool) & ~a.missing & ~b.missing
        raise _Unsuited  # a text beside a number may spell one

    def _among(self, left: ast.expr, right: ast.expr, *, inside: bool) -> Mask:
        if not isinstance(right, ast.List | ast.Tuple):
            raise _Unsuited
        found = np.zeros(self._n, bool)
        for item in right.elts:
            found |= self._compared(ast.Eq(), left, item)
        return found if inside else ~found & ~self._missing(self._operand(left))

    def _operand(self, node: ast.expr) -> _Numbers | _Texts:
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.Name):
            return _column(*self._values[node.id])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "field":
            assert isinstance(node.args[0], ast.Constant)
            return _column(*self._values[str(node.args[0].value)])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _Numbers(-self._number(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTE:
            return _Numbers(_COMPUTE[type(node.op)](self._number(node.left), self._number(node.right)))
        raise _Unsuited

    def _number(self, node: ast.expr) -> NDArray[np.float64]:
        found = self._operand(node)
        if not isinstance(found, _Numbers):
            raise _Unsuited
        return found.values

    def _constant(self, value: object) -> _Numbers | _Texts:
        if isinstance(value, str):
            return _Texts(np.full(self._n, value, object), np.zeros(self._n, bool))
        if isinstance(value, int | float):
            return _Numbers(np.full(self._n, float(value)))
        raise _Unsuited

    @staticmethod
    def _missing(found: _Numbers | _Texts) -> Mask:
        return np.isnan(found.values) if isinstance(found, _Numbers) else found.missing


def _column(column: Column, values: NDArray[Any]) -> _Numbers | _Texts:
    if column.dtype != "string":
        numbers = values.astype(np.float64)
        if column.kind == "field" and column.dtype == "int64":
            numbers[values == MISSING] = np.nan
        return _Numbers(numbers)
    if column.type == "json":
        raise _Unsuited
    # an empty text of a manifest's field is a value; the table cannot tell it from one that is absent
    return _Texts(values, np.zeros(len(values), bool))
