"""What ID3, MP4, APE and ASF call the tags that Vorbis comments have names for, and which are true of one file only."""

from __future__ import annotations

#: Text frames of ID3v2.4.
ID3 = {
    "TALB": "album", "TBPM": "bpm", "TCMP": "compilation", "TCOM": "composer", "TCON": "genre", "TCOP": "copyright",
    "TDOR": "originaldate", "TDRC": "date", "TDRL": "releasedate", "TEXT": "lyricist", "TIPL": "involvedpeople",
    "TIT1": "grouping", "TIT2": "title", "TIT3": "subtitle", "TKEY": "key", "TLAN": "language", "TMCL": "performer",
    "TMED": "media", "TMOO": "mood", "TOAL": "originalalbum", "TOLY": "originallyricist", "TOPE": "originalartist",
    "TOWN": "owner", "TPE1": "artist", "TPE2": "albumartist", "TPE3": "conductor", "TPE4": "remixer",
    "TPOS": "discnumber", "TPUB": "organization", "TRCK": "tracknumber", "TSO2": "albumartistsort",
    "TSOA": "albumsort", "TSOC": "composersort", "TSOP": "artistsort", "TSOT": "titlesort", "TSRC": "isrc",
    "TSST": "discsubtitle",
}  # fmt: skip

#: Atoms of MP4 that have other names than their own.
MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "aART": "albumartist", "\xa9alb": "album", "\xa9day": "date",
    "\xa9gen": "genre", "\xa9wrt": "composer", "\xa9cmt": "comment", "\xa9lyr": "lyrics", "\xa9grp": "grouping",
    "cprt": "copyright", "desc": "description", "ldes": "synopsis", "trkn": "tracknumber", "disk": "discnumber",
    "cpil": "compilation", "tmpo": "bpm", "sonm": "titlesort", "soar": "artistsort", "soaa": "albumartistsort",
    "soal": "albumsort", "soco": "composersort", "tvsh": "show", "\xa9too": "encoder",
}  # fmt: skip

#: Names of APE and ASF, in small letters.
OTHERS = {
    "year": "date", "track": "tracknumber", "disc": "discnumber", "album artist": "albumartist",
    "album_artist": "albumartist", "author": "artist", "wm/albumtitle": "album", "wm/albumartist": "albumartist",
    "wm/year": "date", "wm/genre": "genre", "wm/tracknumber": "tracknumber", "wm/partofset": "discnumber",
    "wm/composer": "composer", "wm/publisher": "organization", "publisher": "organization", "wm/lyrics": "lyrics",
    "wm/conductor": "conductor", "wm/writer": "lyricist", "wm/isrc": "isrc", "wm/mood": "mood",
    "wm/language": "language", "wm/subtitle": "subtitle", "unsyncedlyrics": "lyrics", "unsynced lyrics": "lyrics",
}  # fmt: skip

#: Tags that were true of the source's own bytes, loudness or length, and are not of what was made of it.
STALE = frozenset(
    {
        "encoder", "encoded_by", "encodedby", "encoding", "itunsmpb", "itunnorm", "length", "tlen", "tsse", "cuesheet",
        "r128_track_gain", "r128_album_gain", "acoustid_fingerprint", "time_reference", "umid", "coding_history",
        "major_brand", "minor_version", "compatible_brands", "duration", "handler_name", "vendor_id",
        "metadata_block_picture", "waveformatextensible_channel_mask", "creation_time", "mp3gain_minmax",
        "mp3gain_undo", "mp3gain_album_minmax", "encoding params", "cdec", "pgap", "software",
    }
)  # fmt: skip

#: What they begin with, else.
STALE_PREFIXES = ("replaygain_", "corpusdiff_", "wm/encoding", "wmfsdk", "isvbr", "devicecon", "_statistics_")

#: Frames of ID3 that speak of times in the audio, of its bytes, or of its length.
STALE_FRAMES = frozenset(
    {"AENC", "ASPI", "CHAP", "CTOC", "ETCO", "MLLT", "POSS", "RBUF", "RVA2", "RVAD", "SYLT", "SYTC", "TDEN", "TDLY",
     "TENC", "TLEN", "TSIZ", "TSSE"}
)  # fmt: skip


def is_stale(name: str) -> bool:
    """Whether a tag of the source says nothing that is true of a processed file.

    >>> is_stale("REPLAYGAIN_TRACK_GAIN"), is_stale("Title")
    (True, False)
    """
    return name.lower() in STALE or name.lower().startswith(STALE_PREFIXES)
