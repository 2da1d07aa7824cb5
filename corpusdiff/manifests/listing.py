"""Lists of files: one path a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import RowManifest


class ListManifest(RowManifest):
    """``.txt``: one path a line, relative to the list's own folder; blank lines are skipped."""

    kind: ClassVar[str] = "list"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line (from 1) and row. Raises ManifestError."""
        with open(self.source, "rb") as file:
            for line, raw in enumerate(file, 1):
                try:
                    path = raw.decode("utf-8-sig" if line == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise ManifestError(f"{self.source}:{line}: not UTF-8 ({error.reason})") from error
                if path.strip():
                    yield line, {"path": path}
