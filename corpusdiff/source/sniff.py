"""What a file is that no decoder takes, in words, from its first bytes."""

from __future__ import annotations

from pathlib import Path

#: First bytes and what they belong to: things that are no recordings.
_NOT_AUDIO = (
    (b"\xff\xd8\xff", "JPEG image"),
    (b"\x89PNG", "PNG image"),
    (b"GIF8", "GIF image"),
    (b"BM", "BMP image"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "ZIP archive (or a document of that kind)"),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"\x7fELF", "program"),
    (b"SQLite format 3", "SQLite database"),
    (b"MThd", "MIDI file, notes without sound"),
    (b"#EXTM3U", "playlist"),
    (b"ffconcat", "playlist"),
    (b"APETAGEX", "APE tag without a recording"),
)

#: First bytes of recordings, for telling what could not be decoded.
_AUDIO = (
    (b"RIFF", "WAV or AVI file"),
    (b"RF64", "WAV file (RF64)"),
    (b"fLaC", "FLAC file"),
    (b"OggS", "Ogg file"),
    (b"FORM", "AIFF file"),
    (b"FRM8", "DSD file (DSDIFF)"),
    (b"DSD ", "DSD file (DSF)"),
    (b"caff", "CAF file"),
    (b"wvpk", "WavPack file"),
    (b"TTA", "TTA file"),
    (b"tBaK", "TAK file"),
    (b"MAC ", "Monkey's Audio file"),
    (b"MP+", "Musepack file"),
    (b"MPCK", "Musepack file"),
    (b"NIST_1A", "NIST SPHERE file"),
    (b"\x30\x26\xb2\x75", "Windows Media file"),
    (b"\x1aE\xdf\xa3", "Matroska file"),
    (b".snd", "AU file"),
)

#: First bytes of recordings that no decoder here knows.
_UNKNOWN = (
    (b"OFR ", "an OptimFROG file, which only OptimFROG's own program decodes"),
    (b"ADIF", "an AAC file of the ADIF kind, which no decoder here takes"),
)
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}


def describe(path: str) -> tuple[str, str]:
    """Why a file could not be opened.

    Returns
    -------
    (reason, words) : a `TrackError`'s reason and message, such as ``("unsupported", "not audio: JPEG image")``
    """
    with Path(path).open("rb") as file:
        head = file.read(4096)
    unknown = _first(head, _UNKNOWN)
    if unknown:
        return "unsupported", unknown
    other = _first(head, _NOT_AUDIO) or _without_magic(head)
    if other:
        return "unsupported", f"not audio: {other}"
    audio = "MP4 file" if head[4:8] == b"ftyp" else _first(head, _AUDIO)
    if not audio and head[:2] in {b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa"}:
        audio = "MP3 file"
    if audio:
        return "decode", f"damaged {audio}"
    if head.startswith(b"ID3"):
        return "decode", "an ID3 tag, and behind it no recording that can be decoded"
    return "unsupported", f"no audio format known here (begins with {head[:8].hex(' ')})"


def _first(head: bytes, kinds: tuple[tuple[bytes, str], ...]) -> str:
    return next((words for magic, words in kinds if head.startswith(magic)), "")


def _without_magic(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP image"
    if not any(head):
        return "zeros"
    if _TEXT.issuperset(head):
        markup = head.lstrip()[:1] == b"<"
        return "a web page or other markup, perhaps of a failed download" if markup else "text"
    return ""
