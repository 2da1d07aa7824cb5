"""Folders, globs, single files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpusdiff.errors import ManifestError
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.base import Track, absolute_path, path_below
from corpusdiff.manifests.media import MEDIA_EXTENSIONS


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def ids(source: Path | str) -> list[str]:
    return [track.id for track in open_manifest(str(source)).tracks()]


def test_ids_are_sorted_relative_paths(tmp_path: Path) -> None:
    """Equal basenames keep apart, and the order is that of the whole paths."""
    names = ["a/1.wav", "a.wav", "a-b/1.wav", "b/1.wav", "a/b/c.FLAC", "a b.mp3", "A.wav"]
    make(tmp_path, *names)
    assert ids(tmp_path) == sorted(names)


def test_track_has_size_and_version(tmp_path: Path) -> None:
    """Size and time of change are noted, and paths are relative to the root."""
    make(tmp_path, "x/y.wav")
    os.utime(tmp_path / "x/y.wav", ns=(5, 7))
    manifest = open_manifest(str(tmp_path))
    (track,) = manifest.tracks()
    assert (track.size, track.version, track.path) == (7, "7", "x/y.wav")
    assert absolute_path(track.path, manifest.root) == str(tmp_path / "x/y.wav")


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    """Other files, hidden ones and special ones are counted by extension, on every iteration anew."""
    make(tmp_path, "a.wav", "b.txt", "c.TXT", "README", ".hidden.wav", ".git/x.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    manifest = open_manifest(str(tmp_path))
    for _ in range(2):
        assert [track.id for track in manifest.tracks()] == ["a.wav"]
        assert manifest.ignored == {".txt": 2, "(no extension)": 1, "(hidden)": 2, "(not a regular file)": 1}


def test_folder_without_media_says_what_was_found(tmp_path: Path) -> None:
    """A folder of other things is refused with their kinds."""
    make(tmp_path, "a.txt", "b.txt", "c.json")
    with pytest.raises(ManifestError, match=r"no media files.*2 \.txt, 1 \.json"):
        ids(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="it is empty"):
        ids(tmp_path / "empty")


def test_link_loops_end(tmp_path: Path) -> None:
    """A link to a folder above is not entered; a link to another folder is."""
    make(tmp_path, "a/x.wav", "b/y.wav")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    manifest = open_manifest(str(tmp_path))
    assert [track.id for track in manifest.tracks()] == ["a/b/y.wav", "a/x.wav", "b/a/x.wav", "b/y.wav"]
    assert manifest.ignored["(link to a folder above)"] == 4


def test_dangling_link_stays_a_track(tmp_path: Path) -> None:
    """A link that leads nowhere is listed, so that its failure is seen."""
    make(tmp_path, "a.wav")
    (tmp_path / "b.wav").symlink_to(tmp_path / "gone.wav")
    tracks = list(open_manifest(str(tmp_path)).tracks())
    assert [(track.id, track.size) for track in tracks] == [("a.wav", 5), ("b.wav", None)]


@pytest.mark.parametrize("name", ["a\nb.wav", "a\x07.wav", os.fsdecode(b"\xff.wav")])
def test_unprintable_names_are_refused(tmp_path: Path, name: str) -> None:
    """A name that no table can hold is refused by its escaped form."""
    make(tmp_path, name)
    with pytest.raises(ManifestError, match=r"(control character|not UTF-8).*rename"):
        ids(tmp_path)


def test_unicode_names_are_kept(tmp_path: Path) -> None:
    """Names of any script, with spaces of any kind, are ids."""
    names = sorted(["Grüße.wav", "音声/一.flac", "a\u3000b.mp3", "e\u0301.ogg"])
    make(tmp_path, *names)
    assert ids(tmp_path) == names


def test_globs(tmp_path: Path) -> None:
    """Wildcards match within a folder's name, two stars any number of folders."""
    make(tmp_path, "a/1.wav", "a/2.mp3", "b/1.wav", "b/c/1.wav", "b/c/n.txt", "b/c/r.raw", "top.wav")
    assert ids(tmp_path / "*/1.wav") == ["a/1.wav", "b/1.wav"]
    assert ids(tmp_path / "**/*.wav") == ["a/1.wav", "b/1.wav", "b/c/1.wav", "top.wav"]
    assert ids(tmp_path / "b/**") == ["1.wav", "c/1.wav"]
    assert ids(tmp_path / "b/**/*.raw") == ["c/r.raw"]
    assert ids(tmp_path / "[ab]/?.*") == ["a/1.wav", "a/2.mp3", "b/1.wav"]
    with pytest.raises(ManifestError, match="no media files"):
        ids(tmp_path / "*.flac")
    with pytest.raises(ManifestError, match="no folder"):
        ids(tmp_path / "none/*.wav")


def test_glob_does_not_list_folders_that_cannot_match(tmp_path: Path) -> None:
    """What lies beside the pattern is neither taken nor counted."""
    make(tmp_path, "a/x/1.wav", "b/x/1.txt")
    manifest = open_manifest(str(tmp_path / "a/*/*.wav"))
    assert [track.id for track in manifest.tracks()] == ["x/1.wav"]
    assert manifest.root == str(tmp_path / "a")
    assert not manifest.ignored


def test_single_file(tmp_path: Path) -> None:
    """One file, of whatever extension, is a corpus of one."""
    make(tmp_path, "a.xyz")
    manifest = open_manifest(str(tmp_path / "a.xyz"))
    (track,) = manifest.tracks()
    assert (manifest.kind, manifest.root, track.id) == ("file", str(tmp_path), "a.xyz")


@pytest.mark.parametrize("source", ["none", "ftp://host/x", "corpus.tar.gz", "cuts.jsonl.gz", "pipe"])
def test_what_cannot_be_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Missing and unknown sources are refused with what is expected."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "corpus.tar.gz", "cuts.jsonl.gz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ManifestError, match=r"expected a folder|copy it here"):
        open_manifest(source)


def test_relative_and_absolute_sources_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The normalised name does not depend on where the user stands."""
    make(tmp_path, "a/x.wav")
    monkeypatch.chdir(tmp_path / "a")
    assert open_manifest("../a/").source == open_manifest(str(tmp_path / "a")).source == str(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    """A folder without permission is an error, not an empty one."""
    make(tmp_path, "a.wav", "b/c.wav")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(ManifestError, match="cannot be listed"):
            ids(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_paths_below() -> None:
    """Paths under the root are relative, others absolute, and a folder of a longer name is not under it."""
    assert path_below("/data2/x.wav", "/data") == "/data2/x.wav"
    assert path_below("/x.wav", "/") == "x.wav"
    assert path_below("./a/./b.wav", "/data") == "a/b.wav"
    assert path_below("http://h/x.wav", "/data") == "http://h/x.wav"


def test_track_round_trip() -> None:
    """A track survives JSON."""
    track = Track("a", "a.wav", 1.5, 2.0, 1, {"text": "x", "n": [1]}, 3, "v", 16000, 2, 99)
    assert Track.from_json(track.to_json()) == track


def test_extensions_are_lower_case_with_dot() -> None:
    """The table is in the form in which names are compared."""
    assert all(name == name.lower() and name.startswith(".") for name in MEDIA_EXTENSIONS)
    assert ".raw" not in MEDIA_EXTENSIONS


def test_real_corpora_are_listed(corpora: Path) -> None:
    """Every odd container of the collections is taken; pictures, tags and texts are not."""
    manifest = open_manifest(str(corpora))
    taken = {track.id.rsplit(".", 1)[1].lower() for track in manifest.tracks()}
    assert {
        "aif",
        "aifc",
        "caf",
        "ac3",
        "eac3",
        "m4b",
        "oggtheora",
        "oggflac",
        "3g2",
        "sph",
        "tak",
        "ofs",
        "dff",
    } <= taken
    assert set(manifest.ignored) == {".apev2", ".id3", ".md", ".jpg", ".mid", ".csv"}
