"""Disks that tests may fill, fail, make read-only and take away: a tmpfs, and ext4 on a loop device. Both need root."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The request for the block of a disk on which a block of a file lies.
_FIBMAP = 1


class Disk:
    """A file system in memory.

    Parameters
    ----------
    folder : where it is mounted
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def mount(self, n_bytes: int) -> bool:
        """Whether that is allowed here."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "none", self._folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def remount(self, options: str) -> None:
        """Change it while it is in use: ``size=BYTES``, ``ro``, ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self._folder], check=True)

    def grow(self, n_bytes: int) -> None:
        """Make room."""
        self.remount(f"size={n_bytes}")

    def unmount(self) -> None:
        """Whatever is on it goes; what this process has dropped is closed first."""
        gc.collect()
        subprocess.run(["umount", self._folder], check=True)


class BlockDisk:
    """A disk that fails for real: ext4 on a loop device over a file.

    Parameters
    ----------
    folder : where it is mounted
    image : the file with its bytes
    """

    def __init__(self, folder: Path, image: Path) -> None:
        self._folder = folder
        self._image = image
        self._bytes = b""
        image.touch()
        os.truncate(image, 64 << 20)
        _do("mkfs.ext4", "-q", "-F", str(image))
        folder.mkdir()

    def mount(self, options: str = "errors=remount-ro") -> bool:
        """Whether that is allowed here."""
        command = ["mount", "-o", f"loop,{options}", str(self._image), str(self._folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        """Its device goes too."""
        _do("umount", str(self._folder))

    def fail_reads(self, within: Path | None = None) -> None:
        """From now on nothing can be read but what somebody has in memory: EIO. Only where it is mounted read-only.

        With `within`, a file, from the middle of that file on.
        """
        paths = [path for path in self._folder.rglob("*") if path.is_file()]
        self._bytes = self._image.read_bytes()
        os.truncate(self._image, 4096 if within is None else _middle_on_disk(within))
        for path in paths:  # the kernel's own copies of their bytes would hide it
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def heal_reads(self) -> None:
        """As it was."""
        with self._image.open("r+b") as file:
            file.write(self._bytes)

    def fail_writes(self) -> None:
        """Have the kernel find an error: the journal is given up, and all is read-only under those who write."""
        (device,) = (line.split()[0] for line in _mounts() if line.split()[1] == str(self._folder))
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """What an operator does then: unmount, check, mount."""
        self.unmount()
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)  # 1: has repaired
        if not self.mount():
            raise OSError(f"{self._image} cannot be mounted again")


@contextmanager
def block_disk(folder: Path, image: Path, files: Path | None = None) -> Iterator[BlockDisk | None]:
    """A disk at `folder`, read-only with a copy of `files` where they are given; None where it is not allowed here."""
    disk = BlockDisk(folder, image)
    if not disk.mount():
        yield None
        return
    try:
        if files is not None:
            shutil.copytree(files, folder, dirs_exist_ok=True)
            disk.unmount()
            # errors=continue: else the first failed read of a folder would end the mount
            disk.mount("ro,noload,errors=continue")
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def _middle_on_disk(path: Path) -> int:
    """Where on its disk the byte in the middle of a file lies."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        block_bytes = os.fstatvfs(file.fileno()).f_bsize
        block = struct.pack("i", status.st_size // 2 // block_bytes)
        (found,) = struct.unpack("i", fcntl.ioctl(file.fileno(), _FIBMAP, block))
    return int(found) * block_bytes


def _mounts() -> list[str]:
    return Path("/proc/mounts").read_text().splitlines()


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
