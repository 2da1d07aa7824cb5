"""Which files of a folder are taken for media."""

from __future__ import annotations

import os

_AUDIO = """
aac ac3 adts aif aifc aiff alac amr ape au caf dff dsf dts eac3 ec3 f32 flac gsm ircam it3 la lpc m4a m4b m4r mka mlp
mp+ mp1 mp2 mp3 mpa mpc mpga mpp nist nsp oga ofr ofs ogg oggflac opus paf pvf qcp ra ram rf64 rm sd2 sf shn snd
sph spx svx tak thd tta voc vox vqf w64 wav wave wma wv xi
"""
_VIDEO = """
3g2 3gp asf avi divx dv f4v flv m1v m2ts m2v m4v mj2 mkv mov mp4 mpeg mpg mts mxf nut oggtheora ogm ogv ts vob webm wmv
wtv
"""

#: Extensions (lower case, with the dot) of the files that a folder contributes. Headerless ``.raw`` and
#: ``.pcm`` are not among them: nothing says what their samples are.
MEDIA_EXTENSIONS = frozenset(f".{name}" for name in (_AUDIO + _VIDEO).split())


def extension(name: str) -> str:
    """Extension in lower case with the dot, "" for none.

    >>> extension("A.b.WAV"), extension("README"), extension(".hidden")
    ('.wav', '', '')
    """
    return os.path.splitext(name)[1].lower()


def is_media(name: str) -> bool:
    """Whether a folder's file of this name is taken."""
    return extension(name) in MEDIA_EXTENSIONS
