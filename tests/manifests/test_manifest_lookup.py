"""Texts by key on disk: an oracle in memory, and what happens without room."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.manifests.lookup import Lookup

KEYS = st.text(max_size=3)

FULL = """
import resource, signal
from corpusdiff.errors import CorpusdiffError
from corpusdiff.manifests.lookup import Lookup
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    Lookup((str(i), "x" * 1000) for i in range(100_000))
except CorpusdiffError as error:
    print(error)
"""


@given(st.lists(st.tuples(KEYS, st.text(max_size=5))), st.lists(KEYS))
def test_it_is_a_dict_of_lists(pairs, asked):
    """For any keys, in the order in which they came, asked in any order and twice."""
    with Lookup(iter(pairs)) as lookup:
        assert len(lookup) == len(pairs)
        for key in [*asked, *(key for key, _ in pairs), *asked]:
            assert lookup.all(key) == [value for name, value in pairs if name == key]
        keys = [key for key, _ in pairs]
        assert lookup.repeated() in ({key for key in keys if keys.count(key) > 1} or {None})
        others = [key for key in keys if key not in asked]
        assert lookup.other_than(asked) == (others[0] if others else None)


def test_a_full_disk_is_named():
    """With the remedy; what SQLite says of it is kept."""
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    assert "free some space for temporary files, or set TMPDIR" in done.stdout
