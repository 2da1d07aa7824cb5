"""Objects of JSON lines, packed by gzip or not, here or behind a URL: one line in memory at a time."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import without_query
from corpusdiff.manifests.transport import open_file

_DECODE = json.JSONDecoder(parse_constant=lambda _: None).decode


def json_lines(source: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Line number (from 1), object and text of every line that is not blank. Raises ManifestError."""
    for line, raw in _raw_lines(source):
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            if not text:
                continue
            item = parsed(text)
        except UnicodeDecodeError as error:
            raise ManifestError(f"{source}:{line}: not UTF-8 ({error.reason})") from error
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{source}:{line}: not a JSON object ({error})") from error
        if not isinstance(item, dict):
            raise ManifestError(f"{source}:{line}: found {type(item).__name__}, expected an object")
        yield line, item, text


def parsed(text: str) -> Any:
    """What a JSON text says, NaN and the like as null. Raises ValueError, and RecursionError for what is too deep.

    >>> parsed('{"a": NaN}')
    {'a': None}
    """
    found = _DECODE(text)
    if "\\ud" in text or "\\uD" in text:  # half of a pair is legal in JSON, and in nothing that comes after
        return json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    return found


def _raw_lines(source: str) -> Iterator[tuple[int, bytes]]:
    line = 0
    with open_file(source) as file, _unpacked(file, source) as unpacked:
        try:
            for line, raw in enumerate(unpacked, 1):
                yield line, raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ManifestError(f"{source}: damaged after line {line}: {error}") from error


def _unpacked(file: IO[bytes], source: str) -> IO[bytes] | gzip.GzipFile:
    if without_query(source).endswith(".gz"):
        return gzip.GzipFile(fileobj=file)
    return file
