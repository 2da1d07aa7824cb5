"""Whether a file that is missing was taken away, or the disk that it lies on is out of reach."""

from __future__ import annotations

import errno
import os

from corpusdiff.manifests.base import Track, absolute_path


def check_reach(track: Track, root: str) -> None:
    """Find no fault with a track whose file is missing for a reason that is none of its own.

    A file was taken away where what remains of its folder holds other things. A source that is gone as a whole, or a
    folder that is empty though the file was in it when the run was planned, is a disk or a server to be mounted.

    Parameters
    ----------
    track : of which a file is missing; its `size` tells that it was there when it was planned
    root : the folder that relative paths are relative to

    Raises OSError where no track is to blame, with the remedy.
    """
    path = absolute_path(track.path, root)
    if "://" in path or _exists(path):
        return
    if "://" not in root and not os.path.isdir(root):
        raise OSError(f"the folder of the source is gone: {root}; mount it again, or put it back")
    folder = os.path.dirname(path)
    while not _exists(folder):
        folder = os.path.dirname(folder)
    if track.size is not None and os.path.isdir(folder) and not os.listdir(folder):
        raise OSError(
            f"{folder} is empty, but {path} was there when the run was planned: mount what belongs there; "
            "if its files are really gone, remove the folder too"
        )


def _exists(path: str) -> bool:
    """Whether there is such a file or folder, readable or not. Raises OSError where the disk does not say."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except PermissionError:
        return True
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself leads nowhere
            return False
        raise
    return True
