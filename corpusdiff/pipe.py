"""Length-prefixed messages between a worker and its child: JSON, and bytes that only the child looks into.

Never pickle: the child reads hostile files.
"""

from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: Bytes of JSON, and of what follows it.
_PREFIX = struct.Struct("<II")

#: A longer message is refused: the child may have been taken over by the file it decodes.
MAX_MESSAGE = 256 * 2**20


#: Answers a child that asks for a phase over pieces, given their first samples and what is packed: each as it ends.
Each: TypeAlias = Callable[[str, Sequence[tuple[int, bytes]]], Iterable[Mapping[str, Any]]]


def unheard(_seconds: float) -> None:
    """Progress that nobody waits for."""


@dataclass(frozen=True)
class Listener:
    """Who hears what a child says before its answer.

    Parameters
    ----------
    on_progress : seconds of audio that are decoded
    each : what it asks of others; None where it may not
    """

    on_progress: Callable[[float], None] = unheard
    each: Each | None = None


class PipeClosed(Exception):
    """The other end is gone."""


class Pipe:
    """One end of a pair of pipes.

    Parameters
    ----------
    read_fd, write_fd : file descriptors; owned by this object from now on
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Send one JSON object; bytes under "data" go as they are. Raises PipeClosed."""
        data = message.get("data", b"")
        body = json.dumps({**message, "data": None} if data else message, separators=(",", ":")).encode()
        try:
            for part in (_PREFIX.pack(len(body), len(data)) + body, data):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(self._write_fd, rest) :]
        except BrokenPipeError as error:
            raise PipeClosed from error

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next JSON object, or None after `timeout_s` without a whole one. Raises PipeClosed."""
        while True:
            message = self._take()
            if message is not None:
                return message
            if timeout_s is not None and not _readable(self._read_fd, timeout_s):
                return None
            data = os.read(self._read_fd, 1 << 20)
            if not data:
                raise PipeClosed
            self._buffer += data

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _take(self) -> dict[str, Any] | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        size, data_size = _PREFIX.unpack_from(self._buffer)
        end = _PREFIX.size + size + data_size
        if end > MAX_MESSAGE:
            raise PipeClosed(f"a message of {end} bytes was announced, {MAX_MESSAGE} is the most")
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_PREFIX.size : _PREFIX.size + size])
        data = bytes(self._buffer[_PREFIX.size + size : end])
        del self._buffer[:end]
        try:
            message = json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise PipeClosed("what came is no message") from error
        if not isinstance(message, dict):
            raise PipeClosed("what came is no message")
        return {**message, "data": data} if data else message


def asked_pieces(asked: Mapping[str, Any]) -> list[tuple[int, bytes]]:
    """First sample of each piece, and what is packed for it. Raises PipeClosed for what no child of ours says."""
    pieces, at = [], 0
    try:
        for start, size in asked["pieces"]:
            pieces.append((int(start), asked["data"][at : at + size]))
            at += size
    except (KeyError, TypeError, ValueError) as error:
        raise PipeClosed("what came is no question about pieces") from error
    return pieces


def _readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))
