"""Media files that nobody should have to open: mutations of good and broken ones, and some made to hurt. Seeded."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import soundfile as sf

from corpusdiff.manifests.media import is_media

#: No seed is larger: mutations of large files are mostly mutations of their samples.
_MOST_BYTES = 200_000


def seeds(corpora: Path | None) -> list[tuple[str, bytes]]:
    """Names and bytes of files to mutate: made here, and real ones where they are at hand."""
    found = list(_made())
    for folder in ("broken", "formats") if corpora is not None else ():
        paths = [path for path in sorted((corpora / folder).rglob("*")) if path.is_file()]
        found += [(path.name, path.read_bytes()) for path in paths if path.stat().st_size <= _MOST_BYTES]
    return found


def _made() -> Iterator[tuple[str, bytes]]:
    x = 0.2 * np.sin(np.arange(4000) / 7)[:, None] * [1, 0.5]
    for name, form, subtype in (
        ("a.wav", "WAV", "PCM_16"), ("b.wav", "WAV", "FLOAT"), ("c.wav", "WAV", "IMA_ADPCM"),
        ("d.wav", "WAV", "GSM610"),
        ("a.flac", "FLAC", "PCM_16"), ("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS"), ("a.mp3", "MP3", None),
        ("a.aiff", "AIFF", "PCM_24"), ("a.caf", "CAF", "ALAC_16"), ("a.w64", "W64", "PCM_16"),
        ("a.rf64", "RF64", "PCM_16"),
        ("a.au", "AU", "ULAW"), ("a.voc", "VOC", "PCM_16"), ("a.nist", "NIST", "PCM_16"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        sf.write(buffer, x[:, :1] if subtype == "GSM610" else x, 8000, format=form, subtype=subtype)
        yield name, buffer.getvalue()
    for name, codec in (("a.m4a", "aac"), ("a.mkv", "libopus"), ("a.webm", "libopus"), ("a.avi", "mp3"),
                        ("a.ts", "aac"), ("a.mov", "pcm_s16le"), ("a.ac3", "ac3")):  # fmt: skip
        yield name, _container(Path(name).suffix[1:], codec, x.T.astype(np.float32))


def _container(form: str, codec: str, x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    form = {"m4a": "mp4", "mkv": "matroska", "ts": "mpegts"}.get(form, form)
    with av.open(buffer, "w", format=form) as out:
        stream = out.add_stream(codec, rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def _truncate(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flip(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 4, 64])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _head(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    """Bits of the first 200 bytes, where headers are."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        out[rng.randrange(min(200, len(out)))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(out)


def _absurd(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    """A length, rate or number of channels that cannot be."""
    out = bytearray(data)
    place = rng.randrange(max(1, min(512, len(out)) - 8))
    size, order = rng.choice([2, 4, 8]), rng.choice("<>")
    value = rng.choice([0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, 65535, 1 << 15])
    out[place : place + size] = struct.pack(f"{order}{ {2: 'H', 4: 'I', 8: 'Q'}[size] }", value % 2 ** (8 * size))
    return bytes(out)


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """The head of one file on the body of another."""
    return other[: rng.randrange(len(other) + 1)] + data[rng.randrange(len(data) + 1) :]


def _repeat(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    """A stretch many times over."""
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, 4096)]
    return data[:start] + part * rng.randrange(2, 200) + data[start:]


def _garbage(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.randrange(1, 2000)) + data[place:]


_MUTATIONS: tuple[Callable[[bytes, random.Random, bytes], bytes], ...] = (
    _truncate, _flip, _head, _head, _absurd, _absurd, _splice, _repeat, _garbage,
)  # fmt: skip


def mutations(corpora: Path | None, n: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`n` files: names that are unique, and bytes."""
    rng = random.Random(seed)
    originals = [(name, data) for name, data in seeds(corpora) if data]
    for i in range(n):
        name, data = originals[i % len(originals)]
        mutate = rng.choice(_MUTATIONS)
        other = rng.choice(originals)[1]
        suffix = Path(name).suffix if is_media(name) else ".mp3"
        yield f"{i:05d}{mutate.__name__}{suffix}", mutate(data, rng, other)[: 4 * _MOST_BYTES]


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that unfold, never end, or are deep."""
    buffer = io.BytesIO()
    sf.write(buffer, np.zeros(40 * 60 * 8000, np.int16), 8000, format="FLAC")
    yield "forty-minutes-of-nothing.flac", buffer.getvalue()
    buffer = io.BytesIO()
    sf.write(buffer, np.zeros((1000, 1)), 8000, format="MP3")
    yield "the-same-frame-for-ever.mp3", buffer.getvalue()[-144:] * 20000
    wav = io.BytesIO()
    sf.write(wav, np.zeros(10), 8000, format="WAV")
    chunk = b"junk" + struct.pack("<I", 0)
    yield "a-hundred-thousand-chunks.wav", wav.getvalue()[:12] + chunk * 100_000 + wav.getvalue()[12:]
    yield "a-chunk-that-ends-before-it-begins.wav", wav.getvalue()[:12] + b"junk\xff\xff\xff\xff" + wav.getvalue()[12:]
    yield "a-huge-tag.mp3", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(2000)
    atoms = b""
    for _ in range(5000):
        atoms = struct.pack(">I", 8 + len(atoms)) + b"moov" + atoms
    yield "five-thousand-boxes.mp4", struct.pack(">I", 16) + b"ftypisom" + bytes(4) + atoms
    yield (
        "a-box-as-large-as-can-be.mp4",
        struct.pack(">I", 16) + b"ftypisom" + bytes(4) + struct.pack(">IIQ", 1, 0x6D646174, 2**63),
    )
    master = b""
    for _ in range(2000):
        master = b"\x18\x53\x80\x67" + struct.pack(">Q", (1 << 56) | len(master)) + master
    yield "two-thousand-segments.mkv", b"\x1aE\xdf\xa3\x84\x42\x86\x81\x01" + master
    yield "pages-without-end.ogg", (b"OggS\x00\x00" + bytes(20) + b"\x01\xff" + bytes(255)) * 2000
    form = "<4sI4s4sIHHIIHH4sI"
    sizes = (16, 1, 65535, 2**32 - 1, 0, 65535, 16)
    header = struct.pack(form, b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", *sizes, b"data", 2**32 - 1)
    yield "65535-channels.wav", header + bytes(4096)
    yield (
        "one-sample-a-second.wav",
        struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 44, b"WAVE", b"fmt ", 16, 1, 1, 1, 2, 2, 16, b"data", 8) + bytes(8),
    )


def pointers(address: str) -> Iterator[tuple[str, bytes]]:
    """Files that have a decoder open something else, under names of media: an address, or a file of this machine."""
    for target in (f"http://{address}/stolen.ts", "file:///etc/passwd", "/etc/passwd", "concat:/etc/passwd|/etc/hosts"):
        kind = target.partition(":")[0].strip("/").replace("/", "-")
        yield f"hls-{kind}.mp3", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
        yield f"concat-{kind}.wav", f"ffconcat version 1.0\nfile '{target}'\n".encode()
        yield f"dash-{kind}.mp4", f'<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>'.encode()
        yield f"sdp-{kind}.ogg", f"v=0\no=- 0 0 IN IP4 {address}\nc=IN IP4 {address}\nm=audio 5004 RTP/AVP 0\n".encode()
        yield f"ram-{kind}.ram", f"{target}\n".encode()
