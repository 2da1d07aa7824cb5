"""Tags put into the audio files that a corpus gives: FLAC, Ogg, MP3 and WAV, around audio that is not touched."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any

from corpusdiff.encode.tag_names import ID3
from corpusdiff.encode.tags import Picture, Tags, check_tags


def tagged(data: bytes, encoding: str, tags: Tags, further: Mapping[str, str]) -> bytes:
    """An audio file with tags; its audio is the same, byte for byte.

    Parameters
    ----------
    data : a file without tags, as the encoders here write them
    encoding : ``flac``, ``wav``, ``opus``, ``vorbis`` or ``mp3``
    tags : of the source
    further : names and values to add
    """
    check_tags()
    from mutagen.flac import FLAC
    from mutagen.mp3 import MP3
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis
    from mutagen.wave import WAVE

    kinds = {"flac": FLAC, "wav": WAVE, "opus": OggOpus, "vorbis": OggVorbis, "mp3": MP3}
    buffer = io.BytesIO(data)
    file = kinds[encoding](buffer)
    if file.tags is None:
        file.add_tags()
    if encoding in {"wav", "mp3"}:
        for frame in _frames(tags, further):
            file.tags.add(frame)
    else:
        for name, value in (*tags.comments, *further.items()):
            file.tags.append((_vorbis_name(name), value))
        for picture in map(_flac_picture, tags.pictures):
            if encoding == "flac":
                file.add_picture(picture)
            else:
                file.tags.append(("METADATA_BLOCK_PICTURE", base64.b64encode(picture.write()).decode()))
    buffer.seek(0)
    file.save(buffer)
    return buffer.getvalue()


def _flac_picture(picture: Picture) -> Any:
    from mutagen.flac import Picture as Block

    block = Block()
    block.type, block.mime, block.desc, block.data = picture.kind, picture.mime, picture.description, picture.data
    return block


def _vorbis_name(name: str) -> str:
    """A name with what Vorbis comments forbid in names taken out."""
    return "".join(char if " " <= char <= "}" and char != "=" else "_" for char in name).upper() or "_"


def _frames(tags: Tags, further: Mapping[str, str]) -> Iterator[Any]:
    """ID3 frames: the source's own where it had some."""
    from mutagen import id3

    yield from tags.frames
    comments = () if tags.frames else tags.comments
    frames = {name: frame for frame, name in ID3.items() if frame not in {"TIPL", "TMCL"}}
    several: dict[str, list[str]] = {}
    for name, value in comments:
        several.setdefault(name, []).append(value)
    for name, values in several.items():
        frame = frames.get(name.lower())
        if frame is not None:
            yield getattr(id3, frame)(encoding=3, text=values)
        elif name.lower().partition(":")[0] == "comment":
            yield id3.COMM(encoding=3, lang="XXX", desc=name.partition(":")[2], text=values)
        elif name.lower() in {"lyrics", "unsyncedlyrics"}:
            yield id3.USLT(encoding=3, lang="XXX", desc="", text="\n".join(values))
        else:
            yield id3.TXXX(encoding=3, desc=name, text=values)
    seen: set[str] = set()
    for picture in () if tags.frames else tags.pictures:
        name = picture.description
        while name in seen:  # ID3 tells pictures apart by their description
            name += " "
        seen.add(name)
        yield id3.APIC(encoding=3, mime=picture.mime, type=picture.kind, desc=name, data=picture.data)
    yield from (id3.TXXX(encoding=3, desc=name, text=[value]) for name, value in further.items())
