"""What is read of the audio of a corpus on a disk."""

from __future__ import annotations

import pytest

from corpusdiff.store.objects import LocalObjects


def note_reads(patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """A list that grows by ``(key, bytes)`` at each read."""
    noted: list[tuple[str, int]] = []
    for name in ("read_part", "borrow"):
        read = getattr(LocalObjects, name)

        def noting(self, key, start, size, read=read):
            data = read(self, key, start, size)
            noted.append((key, len(data)))
            return data

        patch.setattr(LocalObjects, name, noting)
    return noted
