"""Conditions on whole columns say what they say row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff import selection
from corpusdiff.errors import UsageError
from corpusdiff.expressions import Expression
from corpusdiff.selection import select
from corpusdiff.store.columns import MISSING, Column

N = 40
RNG = np.random.default_rng(3)
COLUMNS = {
    "snr_db": (Column("snr_db", "float32", "metric", "snr_db"), RNG.normal(10, 9, N).astype(np.float32)),
    "n": (Column("n", "int64", "field", "n", "int"), RNG.integers(-3, 3, N)),
    "lang": (Column("lang", "string", "field", "lang", "str"), RNG.choice(["zh", "en", "de", ""], N).astype(object)),
    "status": (Column("status", "string", "track", "status"), RNG.choice(["ok", "failed"], N).astype(object)),
    "take": (
        Column("take", "string", "field", "take", "str"),
        RNG.choice(["1", "2.5", " 3", "x", "nan"], N).astype(object),
    ),
    "good": (Column("good", "int64", "field", "good", "bool"), RNG.choice([0, 1, MISSING], N)),
    "tags": (Column("tags", "string", "field", "tags", "json"), RNG.choice(['["a"]', '["b"]'], N).astype(object)),
}
COLUMNS["snr_db"][1][::7] = np.nan
COLUMNS["n"][1][::5] = MISSING

_NUMBERS = st.sampled_from(
    [
        "snr_db",
        "n",
        "3",
        "-1.5",
        "snr_db - n",
        "2 * n",
        "-snr_db",
        "n + 1",
        "snr_db / n",
        "snr_db // 2",
        "n % 2",
        "abs(snr_db)",
        "min(n, snr_db, 2)",
        "max(0, n)",
        "len(lang)",
    ]
)
_TEXTS = st.sampled_from(["lang", "status", '"zh"', '"ok"', "lower(lang)", "take", '"2.5"'])
_ORDER = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_LEAVES = st.one_of(
    st.tuples(_NUMBERS, _ORDER, _NUMBERS).map(" ".join),
    st.tuples(_TEXTS, st.one_of(_ORDER, st.sampled_from(["in", "not in"])), _TEXTS).map(" ".join),
    st.tuples(_TEXTS, _ORDER, _NUMBERS).map(" ".join),
    st.tuples(st.sampled_from(["startswith", "endswith"]), _TEXTS, _TEXTS).map("{0[0]}({0[1]}, {0[2]})".format),
    st.sampled_from(
        [
            "missing(snr_db)",
            "lang in ['zh', 'de']",
            "n not in [0, 1]",
            "-1 <= n < 2",
            "missing(n)",
            "'a' in tags",
            "good",
            "lang",
            "n",
            "take in [1, 2.5]",
            "take not in [3, 'x']",
        ]
    ),
)
_CONDITIONS = st.recursive(
    _LEAVES,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda c: f"({c[0]}) {c[1]} ({c[2]})"),
        part.map(lambda c: f"not ({c})"),
    ),
    max_leaves=6,
)


def by_row(condition):
    """The reference: the language's own evaluator, row by row."""
    columns = {name: selection._plain(*pair) for name, pair in COLUMNS.items()}
    return [condition.holds({name: values[i] for name, values in columns.items()}) for i in range(N)]


@settings(max_examples=150, deadline=None)
@given(_CONDITIONS)
def test_columns_and_rows_agree(text):
    """Whatever the condition, missing values included."""
    condition = Expression(text)
    values = {name: COLUMNS[name] for name in condition.names}
    assert selection._mask(condition, values, N).tolist() == by_row(condition), text


@pytest.mark.parametrize(
    "text",
    [
        "snr_db < 10",
        "lang == 'zh' and n > 0",
        "not missing(snr_db)",
        "status in ['ok', 'x'] or n - 1 == 0",
        "take > 2",
        "startswith(lang, 'z') and len(lang) == 2",
        "'o' in status",
        "good and abs(snr_db) % 2 < 1",
    ],
)
def test_what_is_asked_for_most_needs_no_loop(text):
    """Comparisons, lists, arithmetic: by column."""
    condition = Expression(text)
    selection._Vector({name: COLUMNS[name] for name in condition.names}, N).truth(condition.body)


class Chunks:
    """As much of a corpus as `select` asks for."""

    columns = tuple(column for column, _ in COLUMNS.values())

    def __len__(self):
        return N

    def chunk(self, name, index):
        """The only chunk of a column."""
        assert index == 0
        return COLUMNS[name][1]


def test_rows_of_a_corpus():
    """Indices ascend; without a condition all rows; an unknown name is a usage error that knows the right one."""
    found = select(Chunks(), "status == 'ok'")
    assert found.tolist() == [i for i in range(N) if COLUMNS["status"][1][i] == "ok"]
    assert select(Chunks(), None).tolist() == list(range(N))
    assert select(Chunks(), "n > 1000").tolist() == []
    with pytest.raises(UsageError, match="did you mean status"):
        select(Chunks(), "statsu == 'ok'")
    with pytest.raises(UsageError, match="no condition"):
        select(Chunks(), "import os")
