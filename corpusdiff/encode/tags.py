"""Tags of audio files, from any format into FLAC, Ogg, MP3 and WAV, around audio that is not touched.

Between formats of one family they are carried over as they are: Vorbis comments with every name and value, ID3 frame by
frame. Else by the names that Vorbis comments have for them. What was true of the source's file alone (its gain, its
length, its encoder) stays behind. Needs mutagen; containers that it does not know are read through FFmpeg's libraries.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import soundfile as sf

from corpusdiff.encode.tag_names import ID3, MP4, OTHERS, STALE_FRAMES, is_stale
from corpusdiff.errors import TrackError, UsageError

#: What damaged tags make their readers raise.
_DAMAGED = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, EOFError, struct.error)

#: Of what a picture may be, by the first bytes.
_IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
_FRONT_COVER = 3


@dataclass(frozen=True)
class Picture:
    """A picture in a file: ID3's number of its kind (3 a front cover), MIME type, description, and the image's file."""

    kind: int
    mime: str
    description: str
    data: bytes


@dataclass(frozen=True)
class Tags:
    """What is known of a recording beside its sound.

    Parameters
    ----------
    comments : name and value, in order; a name may come several times
    pictures : in order
    frames : mutagen's frames where the source has ID3, which say the same in full
    """

    comments: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()
    frames: tuple[Any, ...] = ()


def has_tags() -> bool:
    """Whether mutagen is here."""
    try:
        import mutagen  # noqa: F401
    except ImportError:
        return False
    return True


def read_tags(path: str) -> Tags:
    """The tags of a file that was decoded.

    Raises UsageError without mutagen, TrackError (``decode``) where they are damaged, OSError where the file cannot be
    read.
    """
    mutagen = check_tags()
    file, found = None, Tags()
    with Path(path).open("rb") as stream, suppress(mutagen.MutagenError, *_DAMAGED):  # others may still know
        file = mutagen.File(stream)
        found = _of_file(file) if file is not None else found
    if found.comments or found.pictures:
        return found
    try:
        if file is None:
            return _through_ffmpeg(path)
        return _through_sndfile(path) if type(file).__name__ == "WAVE" else found
    except (av.FFmpegError, sf.LibsndfileError, ValueError) as error:
        raise TrackError("decode", f"{path}: its tags are damaged: {error}") from error


def check_tags() -> Any:
    """The package mutagen. Raises UsageError without it."""
    try:
        import mutagen
    except ImportError as error:
        raise UsageError("tags need the package mutagen: pip install 'corpusdiff[tags]'") from error
    return mutagen


def _of_file(file: Any) -> Tags:
    """Of what mutagen opened."""
    from mutagen.apev2 import APEv2
    from mutagen.asf import ASFTags
    from mutagen.id3 import ID3Tags
    from mutagen.mp4 import MP4Tags

    tags = file.tags
    if isinstance(tags, ID3Tags):
        return _of_id3(tags)
    if isinstance(tags, MP4Tags):
        pairs, pictures = _of_mp4(tags)
    elif isinstance(tags, APEv2):
        pairs = ((OTHERS.get(name.lower(), name), str(value)) for name, item in tags.items() for value in _texts(item))
        pictures = [_picture(item.value.partition(b"\0")[2]) for name, item in tags.items() if "cover" in name.lower()]
    elif isinstance(tags, ASFTags):
        listed = [(name, value) for name, value in tags if not isinstance(value.value, bytes)]
        pairs = ((OTHERS.get(name.lower(), name), str(value)) for name, value in listed)
        pictures = [_asf_picture(value.value) for name, value in tags if name == "WM/Picture"]
    else:
        pairs = iter(tags or ())
        pictures = [_from_flac(picture) for picture in getattr(file, "pictures", [])]
        pictures += [_from_block(value) for name, value in tags or () if name.lower() == "metadata_block_picture"]
    return Tags(tuple(_kept(pairs)), tuple(pictures))


def _kept(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in pairs if value and not is_stale(name))


def _texts(item: Any) -> list[str]:
    from mutagen.apev2 import APETextValue

    return list(item) if isinstance(item, APETextValue) else []


def _of_id3(tags: Any) -> Tags:
    frames = [frame for frame in tags.values() if frame.FrameID not in STALE_FRAMES and not _is_stale_frame(frame)]
    pictures = (Picture(int(f.type), f.mime, f.desc, f.data) for f in frames if f.FrameID == "APIC")
    pairs = (pair for frame in frames for pair in _of_frame(frame))
    return Tags(tuple(_kept(pairs)), tuple(pictures), tuple(frames))


def _is_stale_frame(frame: Any) -> bool:
    if frame.FrameID == "COMM" and frame.desc.startswith("iTun"):
        return True
    return frame.FrameID in {"TXXX", "PRIV", "GEOB"} and is_stale(getattr(frame, "desc", ""))


def _of_frame(frame: Any) -> Iterator[tuple[str, str]]:
    name = frame.FrameID
    if name in {"COMM", "USLT"}:
        texts = [frame.text] if isinstance(frame.text, str) else frame.text
        plain = "comment" if name == "COMM" else "lyrics"
        yield from ((f"{plain}:{frame.desc}" if frame.desc else plain, str(text)) for text in texts)
    elif name in {"TIPL", "TMCL"}:
        yield from ((ID3[name], f"{who} ({role})") for role, who in frame.people)
    elif name == "TCON":
        yield from (("genre", genre) for genre in frame.genres)
    elif name == "TXXX":
        yield from ((frame.desc or "txxx", str(text)) for text in frame.text)
    elif name.startswith("T"):
        yield from ((ID3.get(name, name.lower()), str(text)) for text in frame.text)
    elif name.startswith("W"):
        yield getattr(frame, "desc", "") or "website", str(frame.url)


def _of_mp4(tags: Any) -> tuple[Iterator[tuple[str, str]], list[Picture]]:
    def pairs() -> Iterator[tuple[str, str]]:
        for key, values in tags.items():
            name = MP4.get(key, key.rpartition(":")[2].removeprefix("\xa9"))
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, tuple):
                    yield name, "/".join(str(number) for number in value if number)  # 3 of 12
                elif isinstance(value, bytes) and key.startswith("----"):
                    yield name, bytes(value).decode(errors="replace")
                elif isinstance(value, bool | int) and value:
                    yield name, str(int(value))
                elif isinstance(value, str):
                    yield name, value

    return pairs(), [_picture(bytes(cover)) for cover in tags.get("covr", [])]


def _picture(data: bytes, kind: int = _FRONT_COVER, description: str = "") -> Picture:
    mime = next((mime for start, mime in _IMAGES.items() if data.startswith(start)), "application/octet-stream")
    return Picture(kind, mime, description, data)


def _asf_picture(data: bytes) -> Picture:
    """WM/Picture: kind, size, then MIME type and description in UTF-16 that ends with zeros, then the image."""
    kind, size = struct.unpack_from("<BI", data)
    mime, description, _ = data[5 : len(data) - size].decode("utf-16-le").split("\0", 2)
    return Picture(kind, mime, description, data[len(data) - size :])


def _from_flac(picture: Any) -> Picture:
    return Picture(int(picture.type), picture.mime, picture.desc, picture.data)


def _from_block(value: str) -> Picture:
    from mutagen.flac import Picture as Block

    try:
        return _from_flac(Block(base64.b64decode(value)))
    except binascii.Error as error:
        raise ValueError(f"a picture is no base64: {error}") from error


def _through_sndfile(path: str) -> Tags:
    """What a WAV file says in its own chunk, which mutagen does not read; FFmpeg's libraries take 20 ms for it."""
    with sf.SoundFile(path) as file:
        return Tags(tuple(_kept(file.copy_metadata().items())))


def _through_ffmpeg(path: str) -> Tags:
    """What FFmpeg's libraries find: the names are theirs, which are nearly those of Vorbis comments."""
    with av.open(path, options={"protocol_whitelist": "file"}) as container:
        found: dict[str, str] = {}
        places: tuple[Any, ...] = (*container.streams.audio[:1], container)
        for where in places:
            found |= {name.lower(): value for name, value in where.metadata.items()}
        covers = [stream for stream in container.streams.video if stream.disposition & stream.disposition.attached_pic]
        packets = [next(packet for packet in container.demux(stream) if packet.size) for stream in covers]
    pairs = ((OTHERS.get(name, name), value) for name, value in found.items())
    return Tags(tuple(_kept(pairs)), tuple(_picture(bytes(packet)) for packet in packets))
