"""NeMo manifests: one JSON object a line, ``audio_filepath`` relative to the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar, NoReturn

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import RowManifest
from corpusdiff.manifests.transport import open_file

_SHAPE = 'expected one JSON object a line, such as {"audio_filepath": "a.wav", "duration": 1.5, "text": "..."}'


class NemoManifest(RowManifest):
    """``.jsonl`` or ``.json``; unknown keys become fields. `NaN`, which is not JSON, reads as null."""

    kind: ClassVar[str] = "nemo"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line number (from 1) and object; blank lines are skipped. Raises ManifestError."""
        decode = json.JSONDecoder(parse_constant=lambda _: None).decode
        with open_file(self.source) as file:
            for line, raw in enumerate(file, 1):
                try:
                    text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                    if not text:
                        continue
                    row = decode(text)
                    if "\\ud" in text or "\\uD" in text:
                        row = _without_lone_surrogates(row)
                except UnicodeDecodeError as error:
                    raise ManifestError(f"{self.source}:{line}: not UTF-8 ({error.reason})") from error
                except (ValueError, RecursionError) as error:
                    self._refuse(line, text, error)
                if not isinstance(row, dict):
                    self._refuse(line, text, None)
                yield line, row

    def _refuse(self, line: int, text: str, cause: Exception | None) -> NoReturn:
        shown = text if len(text) <= 60 else text[:57] + "..."
        remedy = "; `jq -c .[]` turns an array into lines" if text.startswith("[") else ""
        why = f" ({cause})" if cause else ""
        raise ManifestError(f"{self.source}:{line}: found {shown!r}{why}; {_SHAPE}{remedy}") from cause


def _without_lone_surrogates(row: object) -> object:
    # half of a pair is legal in JSON, and in nothing that comes after
    return json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
