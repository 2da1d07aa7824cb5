"""Whether bytes go on with MPEG audio frames (ISO/IEC 11172-3, section 2.4.1.3, and 13818-3)."""

from __future__ import annotations

import re

#: kbit/s by (is MPEG-1, layer), from index 1.
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)

_SYNC = re.compile(rb"\xff[\xe2-\xff]", re.DOTALL)

#: Headers in a row, each where the one before says, that are no accident.
_ENOUGH = 3


def has_mpeg_frames(data: bytes) -> bool:
    """Whether three frames follow one another somewhere in `data`: audio, not a tag or junk."""
    return any(_follow(data, match.start()) for match in _SYNC.finditer(data))


def _follow(data: bytes, start: int) -> bool:
    kind = None
    for _ in range(_ENOUGH):
        header = data[start : start + 4]
        length = _frame_length(header)
        if length == 0 or kind not in {None, _kind(header)}:
            return False
        kind = _kind(header)
        start += length
    return True


def _kind(header: bytes) -> tuple[int, int]:
    return header[1] & 0xFE, header[2] & 0x0C  # version and layer, rate


def _frame_length(header: bytes) -> int:
    """Bytes of the frame that begins so, 0 when none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE2:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in {0, 15} or rate == 3:
        return 0
    first = version == 3
    bits = 1000 * _BITRATES[first, layer][bitrate - 1]
    sr = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    if layer == 1:
        return 4 * (12 * bits // sr + padding)
    return (72 if layer == 3 and not first else 144) * bits // sr + padding
