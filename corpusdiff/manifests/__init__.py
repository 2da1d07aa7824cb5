"""Manifests: where the tracks of a corpus come from."""

from __future__ import annotations

import os

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Manifest, without_query
from corpusdiff.manifests.folder import FileManifest, FolderManifest, GlobManifest
from corpusdiff.manifests.globs import is_glob
from corpusdiff.manifests.media import extension
from corpusdiff.manifests.nemo import NemoManifest
from corpusdiff.manifests.remote import is_url_glob, open_remote
from corpusdiff.manifests.table import CsvManifest, ParquetManifest

_READERS = {
    ".jsonl": NemoManifest,
    ".json": NemoManifest,
    ".csv": CsvManifest,
    ".tsv": CsvManifest,
    ".parquet": ParquetManifest,
}
_SOURCES = "a folder, a glob, an audio file, or a .jsonl, .json, .csv, .tsv or .parquet manifest"


def open_manifest(source: str) -> Manifest:
    """The manifest behind the path or URL that the user named. Nothing is read yet.

    Raises ManifestError when there is no such source or it is none that can be read.
    """
    source = os.fspath(source)
    if "://" in source:
        reader = None if is_url_glob(source) else _READERS.get(extension(without_query(source)))
        return reader(source) if reader else open_remote(source)
    if os.path.isdir(source):
        return FolderManifest(source)
    if not os.path.exists(source):
        if is_glob(source):
            return GlobManifest(source)
        raise ManifestError(f"{source}: there is no such file or folder; expected {_SOURCES}")
    if not os.path.isfile(source):
        raise ManifestError(f"{source}: not a regular file; expected {_SOURCES}")
    name = source.lower()
    if name.endswith((".gz", ".txt", ".scp", ".tar", ".zip")):
        raise ManifestError(f"{source}: this kind of source cannot be read; expected {_SOURCES}")
    reader = _READERS.get(os.path.splitext(name)[1])
    return reader(source) if reader else FileManifest(source)
