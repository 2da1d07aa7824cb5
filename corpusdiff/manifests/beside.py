"""What lies beside a manifest, in a folder or behind a URL: manifests of several files look for each other."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from urllib.parse import unquote

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import absolute_path
from corpusdiff.manifests.transport import filesystem, location, patiently, scheme_of, state_of


def recipe_path(path: str, root: str) -> str:
    """A file as a recipe names it: below `root`, or, where there is no such file, below the present folder."""
    if "://" in root or "://" in path or os.path.isabs(path) or os.path.exists(f"{root}/{path}"):
        return path
    there = os.path.abspath(path)
    return there if os.path.exists(there) else path


def is_file(place: str) -> bool:
    """Whether there is such a file. Raises ManifestError where a server does not answer."""
    if not scheme_of(place):
        return os.path.isfile(place)
    try:
        state_of(place)
    except (FileNotFoundError, PermissionError):  # a store that may not be listed says this of what is not there
        return False
    except OSError as error:
        raise ManifestError(f"{error}: look at the URL and the credentials") from error
    return True


def names_in(folder: str, usual: Iterable[str]) -> list[str]:
    """Sorted names of the files in a folder; of one that does not tell, those of the usual ones that are there."""
    if not scheme_of(folder):
        return sorted(os.listdir(folder))
    client, name = filesystem(folder), location(f"{folder.rstrip('/')}/")
    try:
        found = patiently(lambda: client.ls(name, detail=False), folder)
    except (FileNotFoundError, PermissionError):
        return sorted(name for name in usual if is_file(absolute_path(name, folder)))
    except OSError as error:
        raise ManifestError(f"{error}: look at the URL and the credentials") from error
    bases = (posixpath.basename(str(path).rstrip("/")) for path in found)
    return sorted({unquote(base) if scheme_of(folder).startswith("http") else base for base in bases if base})
