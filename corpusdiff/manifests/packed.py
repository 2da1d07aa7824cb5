"""Which manifest a source is whose recordings lie inside larger files, or may."""

from __future__ import annotations

from types import ModuleType
from typing import cast

from corpusdiff.manifests.base import Manifest
from corpusdiff.manifests.beside import is_file, names_in
from corpusdiff.manifests.media import is_media
from corpusdiff.manifests.shar import SharManifest, is_shar_folder
from corpusdiff.manifests.table import ParquetManifest
from corpusdiff.manifests.tars import TARRED_NEMO, TarredNemoManifest, WebDatasetManifest
from corpusdiff.manifests.transport import scheme_of


def open_parquet(path: str) -> Manifest:
    """A Parquet file that names recordings, or that holds them, where those that it names are not there."""
    return open_parquet_audio(path) if _huggingface().holds_audio(path) else ParquetManifest(path)


def open_parquet_audio(source: str) -> Manifest:
    """A Parquet file or a folder of them, with recordings inside."""
    return cast("Manifest", _huggingface().ParquetAudioManifest(source))


def open_saved_dataset(folder: str) -> Manifest:
    """What Hugging Face datasets saved to disk."""
    return cast("Manifest", _huggingface().SavedDatasetManifest(folder))


def open_packed(folder: str) -> Manifest | None:
    """What a folder of tars or tables with recordings inside is, here or behind a URL; None for another folder.

    Behind a URL only Shar and NeMo's tars are looked for, under the names that they have: a bucket may hold millions.
    """
    found: Manifest | None = None
    tarred_nemo = f"{folder.rstrip('/')}/{TARRED_NEMO}"
    if is_shar_folder(folder):
        found = SharManifest(folder)
    elif is_file(tarred_nemo):
        found = TarredNemoManifest(tarred_nemo)
    elif not scheme_of(folder):
        found = _in_folder(folder)
    return found


def _in_folder(folder: str) -> Manifest | None:
    if _huggingface().is_saved_dataset(folder):
        return open_saved_dataset(folder)
    names = names_in(folder, ())
    if any(is_media(name) for name in names):
        return None
    if any(name.endswith(".tar") for name in names):
        return WebDatasetManifest(folder)
    if any(name.endswith(".parquet") or name == "data" for name in names):
        tables = _huggingface().parquet_files(folder)
        return open_parquet_audio(folder) if tables and _huggingface().holds_audio(tables[0]) else None
    return None


def _huggingface() -> ModuleType:
    """Loads pyarrow, which other manifests have no need of."""
    from corpusdiff.manifests import huggingface

    return huggingface
