"""Inner chunks decoded into place: only the samples that are asked for, in the type that is asked for.

Decoders run in the thread that calls, and without the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.store.layout import ArrayLayout

#: What full scale is in samples of each type.
_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}

#: Where a Blosc header says how many bytes it makes, and how many it has.
_BLOSC_SIZES = (4, 12)


def decode_into(data: memoryview, layout: ArrayLayout, start: int, out: NDArray[Any]) -> None:
    """Decode the elements of an inner chunk from `start` on.

    Parameters
    ----------
    data : the chunk as the codec before its checksum left it
    layout : of its array
    start : first element wanted
    out : (n_channels, n) of the array's dtype or float32 (full scale 1.0), or (n,) uint8 of a lossy array

    Raises
    ------
    ValueError, RuntimeError, TrackError : damaged data, or of another shape than the array's
    """
    if layout.encoding == "flac":
        from corpusdiff.encode.lossless import decode_flac_into  # on first use: it brings the codecs

        decode_flac_into(data, start, layout.chunk, out)
        return
    stop = start + out.shape[-1]
    if layout.lossy:
        if len(data) != layout.chunk:
            raise ValueError(f"{len(data)} bytes in a chunk of {layout.chunk}")
        out[:] = np.frombuffer(data, np.uint8)[start:stop]
        return
    found = _decode_pcm(data, layout)
    if out.dtype == found.dtype:
        out[:] = found[:, start:stop]
    else:
        scale_into(found[:, start:stop], out)


def scale_into(samples: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Samples as float32 with full scale 1.0, exactly; 24 bits are left-justified in int32."""
    factor = np.float32(1.0 / _FULL_SCALE.get(samples.dtype, 1.0))
    np.multiply(samples, factor, out=out, dtype=np.float32, casting="unsafe")


def _decode_pcm(data: memoryview, layout: ArrayLayout) -> NDArray[Any]:
    from numcodecs import blosc

    blosc.use_threads = False  # several of its own would take turns, and no fork survives them
    out = np.empty((layout.n_channels, layout.chunk), layout.dtype.newbyteorder("<"))
    n_decoded, n_encoded = (int.from_bytes(data[place : place + 4], "little") for place in _BLOSC_SIZES)
    if (n_decoded, n_encoded) != (out.nbytes, len(data)):
        raise ValueError(f"{n_encoded} bytes of Blosc that make {n_decoded}: expected {len(data)} and {out.nbytes}")
    blosc.decompress(data, out)
    return out
