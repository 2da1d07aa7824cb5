"""Manifests are data, from anywhere: they lead nowhere that the user did not allow, and run nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpusdiff.errors import ManifestError
from corpusdiff.manifests import Reading, open_manifest
from corpusdiff.manifests.frozen import freeze
from corpusdiff.shards import RunOptions
from corpusdiff.survey import probe_here, surveyed

OUTSIDE = [
    "/etc/shadow",
    "../secret.wav",
    "a/../../secret.wav",
    "./../secret.wav",
    "a//../../secret.wav",
    "s3://bucket/of/somebody/else.wav",
    "http://169.254.169.254/latest/meta-data/",
]
SCHEMES = [
    "file:///etc/passwd",
    "ftp://host/a.wav",
    "gopher://host/1",
    "data://x",
    "concat:///etc/passwd",
    "FILE:///etc/passwd",
]


def written(tmp_path: Path, suffix: str, *rows: dict[str, object]) -> str:
    """A manifest of these rows."""
    folder = tmp_path / "corpus"
    folder.mkdir(exist_ok=True)
    path = folder / f"m{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif suffix == ".csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def taken(source: str, reading: Reading = Reading()) -> list[str]:  # noqa: B008  # a value
    """Paths of the tracks, by both ways there are to read them."""
    manifest = open_manifest(source, reading)
    paths = [track.path for track in manifest.tracks()]
    if hasattr(manifest, "batches"):
        assert [path for rows in manifest.batches() for path in rows.table["path"].to_pylist()] == paths
    return paths


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_stay_below_the_manifest(tmp_path, suffix, path):
    """Whatever leads out is refused, with the option that would allow it; with that option it is taken."""
    source = written(tmp_path, suffix, {"path": "a.wav", "n": 1}, {"path": path, "n": 2})
    with pytest.raises(ManifestError, match="lies outside of the manifest's own folder .*--allow-root ") as refused:
        taken(source)
    root = str(refused.value).rpartition(" ")[2]
    assert root not in {"", "--allow-root"}
    assert len(taken(source, Reading([root]))) == 2


def test_batches_are_looked_at_too(tmp_path):
    """A table of many rows is not let through for the sake of speed."""
    rows = [{"path": f"{i}.wav", "duration": 1.0} for i in range(5000)]
    source = written(tmp_path, ".parquet", *rows, {"path": "/etc/shadow", "duration": 1.0})
    manifest = open_manifest(source)
    found = surveyed(manifest, probe_here(manifest, RunOptions(), 1))
    with pytest.raises(ManifestError, match="m.parquet:5001: /etc/shadow lies outside"):
        freeze(found, tmp_path / "frozen")


def test_one_folder_for_all_is_told(tmp_path):
    """The remedy holds for the other rows as well."""
    rows = [{"path": f"/data/speech/{i}/a.wav"} for i in range(5)]
    with pytest.raises(ManifestError, match="--allow-root /data/speech$"):
        taken(written(tmp_path, ".jsonl", *rows))


@pytest.mark.parametrize("path", SCHEMES)
def test_other_schemes_are_refused(tmp_path, path):
    """Even where everything is allowed."""
    source = written(tmp_path, ".jsonl", {"path": path})
    with pytest.raises(ManifestError, match="files can be read from s3://"):
        taken(source, Reading(["/"]))


def test_a_folder_beside_is_not_below(tmp_path):
    """`/data/speech-private` is not in `/data/speech`."""
    source = written(tmp_path, ".jsonl", {"path": "/data/speech-private/a.wav"})
    with pytest.raises(ManifestError, match="lies outside"):
        taken(source, Reading(["/data/speech"]))


def test_fields_that_name_files(tmp_path):
    """The far end of an echo is a file too."""
    source = written(tmp_path, ".jsonl", {"path": "a.wav", "far": "/etc/shadow"})
    assert taken(source) == ["a.wav"]
    with pytest.raises(ManifestError, match="/etc/shadow lies outside"):
        list(open_manifest(source, file_fields=["far", None]).tracks())


@pytest.mark.parametrize(
    ("track", "says"),
    [
        ("a\nb", "control character"),
        ("a\x00b", "control character"),
        ("a\u2028b", "control character"),
        ("invoice\u202egpj.wav", "control character"),
        ("x" * 1025, "1025 characters"),
        ("", "empty id|a.wav"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_ids_read_as_they_are(tmp_path, track, says, suffix):
    """Line breaks, zeros, turned writing and endless names are refused; joiners that languages need are not."""
    source = written(tmp_path, suffix, {"path": "a.wav", "id": track}, {"path": "b.wav", "id": "می\u200cخواهم"})
    if track:
        with pytest.raises(ManifestError, match=says):
            list(open_manifest(source).tracks())
    else:
        assert [found.id for found in open_manifest(source).tracks()] == ["a.wav", "می\u200cخواهم"]


def test_twins_in_unicode_are_two(tmp_path):
    """Composed and decomposed names are different files, and stay so."""
    source = written(tmp_path, ".jsonl", {"path": "é.wav"}, {"path": "e\u0301.wav"})
    assert len({found.id for found in open_manifest(source).tracks()}) == 2


def test_links_go_round_once(tmp_path):
    """A link to itself is a failed track, one to a folder above is left out, one elsewhere is followed once."""
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.wav").touch()
    (folder / "self.wav").symlink_to("self.wav")
    (folder / "sub" / "up").symlink_to("..", target_is_directory=True)
    (folder / "root").symlink_to(tmp_path, target_is_directory=True)
    manifest = open_manifest(str(folder))
    assert [track.id for track in manifest.tracks()] == ["self.wav", "sub/a.wav"]
    assert manifest.ignored["(link to a folder above)"] == 2
