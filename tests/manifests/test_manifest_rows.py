"""NeMo, CSV, TSV and Parquet manifests."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpusdiff.errors import ManifestError
from corpusdiff.manifests import Reading, open_manifest
from corpusdiff.manifests.base import Track


def read(path: Path, text: str | bytes) -> list[Track]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(open_manifest(str(path), Reading(["/"])).tracks())


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_nemo_keeps_unknown_keys_and_resolves_paths(tmp_path: Path) -> None:
    """Paths are relative to the manifest; whatever else a row says is kept."""
    rows = lines(
        {"audio_filepath": "a/1.wav", "duration": 1.5, "text": "hi", "lang": None},
        {"audio_filepath": str(tmp_path / "b.wav"), "id": "second", "x": {"y": [1]}},
        {"audio_filepath": "../c.wav"},
        {"audio_filepath": "/elsewhere/d.wav"},
    )
    first, second, third, fourth = read(tmp_path / "m.json", rows)
    assert (first.id, first.path, first.duration_s) == ("a/1.wav", "a/1.wav", None)
    assert first.fields == {"duration": 1.5, "text": "hi", "lang": None}
    assert (second.id, second.path, second.fields) == ("second", "b.wav", {"x": {"y": [1]}})
    assert third.path == str(tmp_path.parent / "c.wav") == third.id
    assert fourth.path == "/elsewhere/d.wav"


def test_segments_of_one_file_get_ids_of_their_own(tmp_path: Path) -> None:
    """With an offset, offset and duration are the segment's and part of the id."""
    rows = lines(
        {"audio_filepath": "a.wav", "offset": 0, "duration": 1.0},
        {"audio_filepath": "a.wav", "offset": 1.0, "duration": 2},
        {"audio_filepath": "a.wav", "offset": 1.0},
        {"audio_filepath": "a.wav", "channel": 0},
        {"audio_filepath": "a.wav", "channel": 1},
        {"audio_filepath": "a.wav"},
    )
    tracks = read(tmp_path / "m.jsonl", rows)
    assert len({track.id for track in tracks}) == 6
    assert tracks[0].id == "a.wav@0.0+1.0"
    assert [(t.offset_s, t.duration_s, t.channel) for t in tracks[1:4]] == [
        (1.0, 2.0, None),
        (1.0, None, None),
        (0.0, None, 0),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"audio_filepath": "a.wav"', "expected one JSON object"),
        ("[1, 2]", "jq"),
        ('"text"', "expected one JSON object"),
        ('{"text": "x"}', "no path; expected one of audio_filepath"),
        ('{"audio_filepath": ""}', "expected the name of an audio file"),
        ('{"audio_filepath": 5}', "expected the name of an audio file"),
        ('{"audio_filepath": "a.wav", "offset": -1}', "expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": "x"}', "expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": 1e999}', "expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": true}', "expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": 1, "duration": 0}', "duration is 0"),
        ('{"audio_filepath": "a.wav", "channel": 0.5}', "whole number"),
        ('{"audio_filepath": "a.wav", "channel": [0, 1]}', "whole number"),
        ('{"audio_filepath": "a.wav", "id": "a\\nb"}', "control character"),
        ('{"audio_filepath": "a\\u0000.wav"}', "control character"),
        ("[" * 100_000, "expected one JSON object"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, row: str, message: str) -> None:
    """A bad line is refused by file and line, counted as an editor counts."""
    with pytest.raises(ManifestError, match=message) as caught:
        read(tmp_path / "m.jsonl", lines({"audio_filepath": "ok.wav"}) + "\n" + row + "\n")
    assert "m.jsonl:3:" in str(caught.value)


def test_nemo_odd_bytes(tmp_path: Path) -> None:
    """A byte order mark, CRLF and blank lines do no harm; other encodings are refused; NaN reads as null."""
    tracks = read(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"audio_filepath": "a.wav", "snr": NaN}\r\n\r\n')
    assert [(t.id, t.fields) for t in tracks] == [("a.wav", {"snr": None})]
    (pair,) = read(tmp_path / "d.jsonl", '{"audio_filepath": "a.wav", "text": "\\ud83d\\ude00 \\ud83d"}')
    assert pair.fields == {"text": "\U0001f600 ?"}
    with pytest.raises(ManifestError, match=r"b\.jsonl:1: not UTF-8"):
        read(tmp_path / "b.jsonl", '{"audio_filepath": "Grüße.wav"}'.encode("latin-1"))
    with pytest.raises(ManifestError, match="no rows"):
        read(tmp_path / "c.jsonl", "\n")


def test_csv(tmp_path: Path) -> None:
    """Values stay text, quoted cells may hold separators and line ends, the first known path column counts."""
    text = 'id,path,file,start,duration,channel,text\n007,a.wav,zzz,1.5,2,1,"a, ""b""\nc"\n,b.wav,zzz,,9,,\n'
    first, second = read(tmp_path / "m.csv", "\ufeff" + text)
    assert first == Track("007", "a.wav", 1.5, 2.0, 1, {"file": "zzz", "text": 'a, "b"\nc'})
    assert second.id == "b.wav"
    assert second.fields["duration"] == "9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"m\.csv:1: no path column; expected one of audio_filepath.*found a, b"),
        ("", r"m\.csv:1: no path column.*found nothing"),
        ("path,path\na,b\n", "is there twice"),
        ("path,text\na.wav,x\nb.wav\n", r"m\.csv:3: 1 cells, but the header has 2"),
        ('path,text\na.wav,"x\nb.wav,y\n', r"m\.csv:3: not a CSV row"),
        ("path\n", "no rows"),
        (b"path\n\xff.wav\n", "not UTF-8"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    """A table that cannot be read is refused by file and line."""
    with pytest.raises(ManifestError, match=message):
        read(tmp_path / "m.csv", text)


def test_tsv_quotes_do_not_swallow_rows(tmp_path: Path) -> None:
    """A stray quotation mark is a character; one that quotes a whole cell is not."""
    tracks = read(tmp_path / "m.tsv", 'path\tsentence\na.wav\t"Oh\nb.wav\t"say ""no"""\n')
    assert [t.fields["sentence"] for t in tracks] == ['"Oh', 'say "no"']


def test_common_voice(tmp_path: Path) -> None:
    """Common Voice names its files without the folder that they are in."""
    (tmp_path / "clips").mkdir()
    (track,) = read(tmp_path / "train.tsv", "client_id\tpath\tsentence\nx\ta.mp3\tHello\n")
    assert (track.id, track.path) == ("clips/a.mp3", "clips/a.mp3")


def test_parquet(tmp_path: Path) -> None:
    """Types are kept, embedded bytes left out, other values turned into JSON."""
    import datetime

    table = pa.table(
        {
            "file": ["a.wav", "b.wav"],
            "n": [1, 2],
            "score": [0.5, float("nan")],
            "ok": [True, None],
            "day": [datetime.date(2020, 1, 2), None],
            "raw": [b"x", b"y"],
            "audio": [{"bytes": b"x", "path": "p"}] * 2,
            "tags": [["u"], []],
        }
    )
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1)
    (tmp_path / "a.wav").touch()
    first, second = open_manifest(str(tmp_path / "m.parquet")).tracks()
    assert first.fields == {"n": 1, "score": 0.5, "ok": True, "day": "2020-01-02", "tags": ["u"]}
    assert second.fields == {"n": 2, "score": None, "ok": None, "day": None, "tags": []}
    pq.write_table(table.drop_columns(["file", "audio"]), tmp_path / "n.parquet")
    with pytest.raises(ManifestError, match="no path"):
        list(open_manifest(str(tmp_path / "n.parquet")).tracks())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ManifestError, match="not a Parquet file"):
        list(open_manifest(str(tmp_path / "bad.parquet")).tracks())


def test_place_names_the_line(tmp_path: Path) -> None:
    """The place of a track is the line that an editor shows."""
    path = tmp_path / "m.jsonl"
    path.write_text("\n" + lines({"audio_filepath": "a.wav"}) + "\n" + lines({"audio_filepath": "b.wav"}))
    assert open_manifest(str(path)).place(1) == f"{path}:4"


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_rows_are_read_at_speed(tmp_path: Path, name: str) -> None:
    """A million rows take seconds: at least 30 000 a CPU-second, several times less than what is usual."""
    n = 20_000
    text = "path,text,start\n" + "".join(f"a/{i}.wav,hello world,{i}\n" for i in range(n))
    if name == "m.jsonl":
        text = lines(*({"audio_filepath": f"a/{i}.wav", "text": "hello world", "offset": i} for i in range(n)))
    (tmp_path / name).write_text(text)
    started = time.process_time()
    assert sum(1 for _ in open_manifest(str(tmp_path / name)).tracks()) == n
    assert n / (time.process_time() - started) > 30_000
