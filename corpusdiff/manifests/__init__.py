"""Manifests: where the tracks of a corpus come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Manifest, without_query
from corpusdiff.manifests.folder import FileManifest, FolderManifest, GlobManifest
from corpusdiff.manifests.globs import is_glob
from corpusdiff.manifests.kaldi import KaldiManifest, is_kaldi
from corpusdiff.manifests.lhotse import is_lhotse_file
from corpusdiff.manifests.lhotse_folder import is_lhotse_folder, open_lhotse, open_supervisions
from corpusdiff.manifests.listing import ListManifest
from corpusdiff.manifests.media import extension
from corpusdiff.manifests.packed import open_packed, open_parquet, open_parquet_audio, open_saved_dataset
from corpusdiff.manifests.remote import is_url_glob, open_remote
from corpusdiff.manifests.rows import RowManifest
from corpusdiff.manifests.shar import SharManifest
from corpusdiff.manifests.table import CsvManifest, ParquetManifest
from corpusdiff.manifests.tars import TarredNemoManifest, WebDatasetManifest, has_range

_READERS: dict[str, Callable[[str], Manifest]] = {
    ".jsonl": TarredNemoManifest,
    ".json": TarredNemoManifest,
    ".csv": CsvManifest,
    ".tsv": CsvManifest,
    ".parquet": open_parquet,
    ".txt": ListManifest,
    ".tar": WebDatasetManifest,
}
_SOURCES = (
    "a folder (of audio, of tars, Kaldi's, Lhotse's, a saved dataset, or with a metadata file), a glob, an audio file, "
    "a .tar, or a .jsonl, .jsonl.gz, .json, .csv, .tsv, .parquet or .txt manifest"
)

#: Hugging Face's names of an audiofolder's manifest.
_METADATA = ("metadata.parquet", "metadata.jsonl", "metadata.csv")

#: Names of the forms that can be asked for; the usual way is to look at the content.
FORMATS = (
    "folder", "file", "kaldi", "lhotse", "lhotse-supervisions", "shar", "nemo", "webdataset", "hf-saved",
    "csv", "tsv", "parquet", "parquet-audio", "list",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How to read a source.

    Parameters
    ----------
    allow_roots : folders and URLs in which files may lie that a manifest names, beside its own folder
    source_format : one of `FORMATS`; None to find out
    """

    allow_roots: Sequence[str] = ()
    source_format: str | None = None


#: As most sources are read.
USUAL = Reading()


def open_manifest(source: str, reading: Reading = USUAL, file_fields: Sequence[str | None] = ()) -> Manifest:
    """The manifest behind the path or URL that the user named.

    Parameters
    ----------
    source : folder, glob, file or manifest
    reading : how
    file_fields : fields of a manifest that name files too; None is none

    Raises ManifestError when there is no such source or it is none that can be read.
    """
    source = os.fspath(source)
    manifest = _open(source) if reading.source_format is None else _open_as(source, reading.source_format)
    if isinstance(manifest, RowManifest):
        roots = reading.allow_roots
        manifest.allow = tuple(root if "://" in root else os.path.abspath(root) for root in roots)
        manifest.file_fields = tuple(name for name in file_fields if name)
    return manifest


def _open_as(source: str, form: str) -> Manifest:
    readers: dict[str, Callable[[str], Manifest]] = {
        "folder": FolderManifest, "file": FileManifest, "kaldi": KaldiManifest, "lhotse": open_lhotse,
        "lhotse-supervisions": open_supervisions, "shar": SharManifest,
        "webdataset": WebDatasetManifest, "hf-saved": open_saved_dataset,
        "parquet-audio": open_parquet_audio,
        "nemo": TarredNemoManifest, "csv": CsvManifest, "tsv": CsvManifest, "parquet": ParquetManifest,
        "list": ListManifest,
    }  # fmt: skip
    if form not in readers:
        raise ManifestError(f"--source-format {form}: expected one of {', '.join(FORMATS)}")
    if "://" not in source and not os.path.exists(source) and form != "webdataset":
        raise ManifestError(f"{source}: there is no such file or folder")
    return readers[form](source)


def _open(source: str) -> Manifest:
    if "://" in source:
        if source.endswith(".tar") and (is_url_glob(source) or has_range(source)):
            return WebDatasetManifest(source)
        return open_remote(source) if is_url_glob(source) else _open_url(source)
    if os.path.isdir(source):
        return _open_folder(source)
    if not os.path.exists(source):
        if source.endswith(".tar") and (is_glob(source) or has_range(source)):
            return WebDatasetManifest(source)
        if is_glob(source):
            return GlobManifest(source)
        raise ManifestError(f"{source}: there is no such file or folder; expected {_SOURCES}")
    if not os.path.isfile(source):
        raise ManifestError(f"{source}: not a regular file; expected {_SOURCES}")
    return _open_file(source)


def _open_url(source: str) -> Manifest:
    """A manifest where name or content say so, else what lies behind the URL."""
    name = without_query(source).lower()
    if name.endswith((".jsonl", ".jsonl.gz")) and is_lhotse_file(source):
        return open_lhotse(source)
    reader = _READERS.get(extension(name))
    if reader:
        return reader(source)
    if name.endswith(("/", "wav.scp")) or not extension(name):
        folder = source.removesuffix("wav.scp").rstrip("/")
        if is_kaldi(folder):
            return KaldiManifest(folder)
        if is_lhotse_folder(folder):
            return open_lhotse(folder)
        packed = open_packed(folder)
        if packed is not None:
            return packed
    return open_remote(source)


def _open_file(source: str) -> Manifest:
    """A manifest where name or content say so, else one recording."""
    name = source.lower()
    if os.path.basename(name) == "wav.scp":
        return KaldiManifest(os.path.dirname(os.path.abspath(source)))
    if name.endswith((".jsonl", ".jsonl.gz")) and is_lhotse_file(source):
        return open_lhotse(source)
    if name.endswith((".gz", ".scp", ".zip", ".tgz")):
        raise ManifestError(f"{source}: this kind of source cannot be read; expected {_SOURCES}")
    reader = _READERS.get(os.path.splitext(name)[1])
    return reader(source) if reader else FileManifest(source)


def _open_folder(folder: str) -> Manifest:
    """A folder of recordings, unless a manifest in it says what it is."""
    if os.path.isfile(os.path.join(folder, "wav.scp")):
        return KaldiManifest(folder)
    for name in _METADATA:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return _READERS[extension(name)](path)
    if is_lhotse_folder(folder):
        return open_lhotse(folder)
    return open_packed(folder) or FolderManifest(folder)
