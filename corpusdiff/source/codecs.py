"""What the decoders and encoders of this installation can do."""

from __future__ import annotations

from typing import Literal

import av
import soundfile as sf

#: Decoders of FFmpeg's libraries that corpora need; wheels of PyAV bring them all.
_DECODERS = ("aac", "alac", "flac", "mp3", "opus", "vorbis", "wmav2", "pcm_s16le")
_ENCODERS = ("libopus", "libmp3lame", "aac")


def decoders() -> tuple[str, list[str]]:
    """Version of libsndfile and FFmpeg, and the decoders that are missing."""
    return f"libsndfile {sf.__libsndfile_version__}, {_ffmpeg()}", [name for name in _DECODERS if not _there(name, "r")]


def encoders() -> list[str]:
    """Names of encoders that are missing."""
    missing = [name for name in _ENCODERS if not _there(name, "w")]
    formats = sf.available_formats()
    return missing + [name for name in ("FLAC", "OGG") if name not in formats]


def _ffmpeg() -> str:
    major, minor, micro = av.library_versions["libavcodec"]
    return f"libavcodec {major}.{minor}.{micro}"


def _there(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        av.Codec(name, mode)
    except ValueError:  # PyAV's error for an unknown codec is one
        return False
    return True
