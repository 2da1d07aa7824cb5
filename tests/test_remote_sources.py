"""Runs over sources behind URLs: the rows of the same files on disk, whatever lies between."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import soundfile as sf
from fault_runs import Run, make_recordings, same_corpus, strike
from servers import BUCKET, Proxy, S3Server
from web_server import WebServer

import corpusdiff
from corpusdiff.driver import execute
from corpusdiff.errors import TrackError
from corpusdiff.fetch import Fetcher
from corpusdiff.manifests import open_manifest, transport
from corpusdiff.manifests.base import Track
from corpusdiff.request import RunRequest
from corpusdiff.store.generations import read_plans, read_record
from corpusdiff.store.objects import open_objects


def run(source: str | Path, out: Path, *, env: Mapping[str, str] | None = None, expect: int = 0, **request: Any) -> str:
    """One run in this process; what it printed."""
    said = io.StringIO()
    transport._filesystem.cache_clear()  # clients of another server
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        code = execute(RunRequest(str(source), str(out), cluster="none", **{"shard_s": 6.0} | request))
    assert code == expect, said.getvalue()
    return said.getvalue()


def rows(out: Path) -> list[dict]:
    """The rows of every record, in order, without what they say of paths."""
    objects = open_objects(str(out), write=False)
    found = []
    for plan in read_plans(objects):
        for shard in range(plan.n_shards):
            found += [{**row, "path": None} for row in read_record(objects, plan, shard).rows]
    return found


def put(server: S3Server, folder: Path, below: str) -> None:
    """Put a folder's files into the bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            name = quote(f"{below}/{path.relative_to(folder)}")
            assert server.request("PUT", f"/{BUCKET}/{name}", path.read_bytes()) == 200


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few recordings, one of them with a name that URLs do not like, one that is none."""
    folder = make_recordings(tmp_path_factory.mktemp("recordings") / "src", 16)
    (folder / "a b").mkdir()
    (folder / "speaker0/000.wav").rename(folder / "a b/ä #1%.wav")
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return folder


@pytest.fixture(scope="module")
def local(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run over the folder gives."""
    out = tmp_path_factory.mktemp("local") / "out"
    run(recordings, out, expect=3)
    return out


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """An S3 server."""
    with S3Server() as server:
        yield server


def test_a_bucket_gives_the_corpus_of_the_folder(
    recordings: Path, local: Path, server: S3Server, tmp_path: Path
) -> None:
    """Tables, records and audio are those of the same files on disk; a track is two requests."""
    put(server, recordings, "same")
    with Proxy(server.port) as proxy:
        run(f"s3://{BUCKET}/same", tmp_path / "out", expect=3, env=proxy.env)
        files = [
            path
            for _, path in proxy.requests
            if "/same/" in path and not path.endswith((".scp", ".jsonl", ".gz", ".json"))
        ]
    same_corpus(tmp_path / "out", local, "behind S3")
    assert len(files) == 2 * 17


def test_a_manifest_on_the_web(recordings: Path, local: Path, tmp_path: Path) -> None:
    """Relative and absolute rows of a manifest behind http are fetched; a missing file is a failed row, and no more."""
    names = sorted(str(path.relative_to(recordings)) for path in recordings.rglob("*.*"))
    served = tmp_path / "served"
    served.mkdir()
    (served / "audio").symlink_to(recordings)
    with WebServer(served) as web:
        listed = [{"audio_filepath": f"./audio/{name}", "id": name} for name in names]
        listed[0]["audio_filepath"] = f"{web.url}/audio/{quote(names[0])}"
        lines = [*listed, {"audio_filepath": "audio/none.wav", "id": "none"}]
        (served / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        said = run(f"{web.url}/m.jsonl", tmp_path / "out", expect=3)
    found = {row["id"]: row for row in rows(tmp_path / "out")}
    missing = found.pop("none")
    assert (missing["status"], missing["reason"]) == ("failed", "missing")
    assert f"no file {web.url}/audio/none.wav" in missing["error"]
    assert "2 failed" in said
    expected = {row["id"]: row for row in rows(local)}
    assert found.keys() == expected.keys()
    for name, row in found.items():
        ours, theirs = ({**r, "outputs": None} for r in (row, expected[name]))
        assert ours == theirs
    corpus, disk = corpusdiff.open(str(tmp_path / "out")), corpusdiff.open(str(local))
    at, there = list(corpus.column("id")), list(disk.column("id"))
    for name in names[:5]:
        if found[name]["status"] == "ok":
            assert np.array_equal(corpus[at.index(name)].audio, disk[there.index(name)].audio)


def test_a_folder_on_the_web(recordings: Path, local: Path, tmp_path: Path) -> None:
    """A server's index is a folder: the same corpus."""
    with WebServer(recordings) as web:
        run(f"{web.url}/", tmp_path / "out", expect=3)
    same_corpus(tmp_path / "out", local, "behind http")


def test_references_behind_urls(server: S3Server, tmp_path: Path) -> None:
    """An echo job gets its far-end files from the bucket too."""
    folder = tmp_path / "calls"
    folder.mkdir()
    rng = np.random.default_rng(5)
    far = 0.1 * rng.standard_normal(32000)
    near = 0.5 * np.convolve(far, [0.0, 0.0, 0.6, 0.3])[:32000] + 0.001 * rng.standard_normal(32000)
    sf.write(folder / "far.wav", far, 16000)
    sf.write(folder / "near.wav", near, 16000)
    lines = [
        {"audio_filepath": "near.wav", "far": "far.wav"},
        {"audio_filepath": "near.wav", "far": "gone.wav", "id": "without"},
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    put(server, folder, "calls")
    job = tmp_path / "calls.toml"
    job.write_text('[source]\nsr = 16000\nreference_field = "far"\n[[chain]]\nstage = "echo"\n[[output]]\nbits = 24\n')
    run(folder / "m.jsonl", tmp_path / "disk", job=str(job), expect=3)
    run(f"s3://{BUCKET}/calls/m.jsonl", tmp_path / "s3", job=str(job), env=server.env, expect=3)
    there, here = rows(tmp_path / "s3"), rows(tmp_path / "disk")
    assert [row["status"] for row in there] == ["ok", "failed"]
    assert there[0] == here[0]
    assert here[0]["metrics"]["rms_dbfs"] - here[0]["metrics"]["out_rms_dbfs"] > 6.0
    assert there[1]["reason"] == here[1]["reason"] == "missing"


def test_what_changes_is_seen(server: S3Server, tmp_path: Path) -> None:
    """--update takes what is new or has another etag; --retry-failed what was not there."""
    folder = make_recordings(tmp_path / "src", 4)
    put(server, folder, "grows")
    out = tmp_path / "out"
    run(f"s3://{BUCKET}/grows", out, env=server.env)
    assert "nothing to do" in run(f"s3://{BUCKET}/grows", out, mode="update", env=server.env)
    (folder / "speaker0/000.wav").write_bytes((folder / "speaker2/002.wav").read_bytes())
    sf.write(folder / "new.wav", 0.1 * np.ones(8000), 8000)
    put(server, folder, "grows")
    run(f"s3://{BUCKET}/grows", out, mode="update", env=server.env)
    plans = read_plans(open_objects(str(out), write=False))
    assert [plan.n_tracks for plan in plans] == [4, 2]
    assert server.request("DELETE", f"/{BUCKET}/grows/new.wav") == 204
    assert len(corpusdiff.open(str(out))) == 5


def test_a_change_of_equal_size_is_seen(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another object of as many bytes is told by its etag, without a request more for those that are as they were."""
    folder = make_recordings(tmp_path / "src", 2)
    put(server, folder, "swapped")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    transport._filesystem.cache_clear()
    tracks = list(open_manifest(f"s3://{BUCKET}/swapped").tracks())
    path = folder / tracks[0].path
    path.write_bytes(path.read_bytes()[:-2] + b"xy")
    put(server, folder, "swapped")
    with Fetcher(tracks, f"s3://{BUCKET}/swapped") as fetcher:
        found = []
        for _ in tracks:
            with fetcher.copies() as copies:
                found.append(copies.changed)
    assert found == [True, False]


def test_a_source_that_is_gone_fails_no_track(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is left below the source no track is charged; one that alone is missing is."""
    transport._filesystem.cache_clear()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    root, tracks = f"s3://{BUCKET}/vanished", [Track("a", "a.wav", size=5)]
    with Fetcher(tracks, root) as one, pytest.raises(OSError, match="source is gone"), one.copies():
        pass
    assert server.request("PUT", f"/{BUCKET}/vanished/b.wav", b"b") == 200
    with Fetcher(tracks, root) as one, pytest.raises(TrackError, match="no file"), one.copies():
        pass
    with Proxy(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.env["AWS_ENDPOINT_URL"])
        transport._filesystem.cache_clear()
        proxy.switch(forbid=True)
        with (
            Fetcher([*tracks, *tracks], root) as one,
            pytest.raises(OSError, match=r"nothing may be read .*credentials"),
            one.copies(),
        ):
            pass
    transport._filesystem.cache_clear()


@pytest.mark.faults_short
def test_a_store_that_fails_half_of_the_time(recordings: Path, local: Path, server: S3Server, tmp_path: Path) -> None:
    """Errors and torn answers cost time only: the corpus is the same."""
    put(server, recordings, "half")
    with Proxy(server.port, seed=4) as proxy:
        proxy.switch(errors=0.4, truncate=0.2)
        run(f"s3://{BUCKET}/half", tmp_path / "out", expect=3, env=proxy.env)
        assert proxy.injected["errors"] > 10
        assert proxy.injected["truncate"] > 3
    same_corpus(tmp_path / "out", local, "behind a failing S3")


@pytest.mark.faults_short
def test_latency_is_hidden(server: S3Server, tmp_path: Path) -> None:
    """Of 50 ms to every answer a run feels less than a third, though tracks are short: requests overlap."""
    folder = make_recordings(tmp_path / "src", 200)
    put(server, folder, "late")
    source, seconds = f"s3://{BUCKET}/late", {}
    with Proxy(server.port) as proxy:
        for latency_s in (0.0, 0.05):
            proxy.switch(latency_s=latency_s)
            proxy.requests.clear()
            started = time.monotonic()
            run(source, tmp_path / f"out{latency_s}", shard_s=60.0, env=proxy.env)
            seconds[latency_s] = time.monotonic() - started
        n_requests = len(proxy.requests)
    print(seconds, n_requests)
    assert n_requests * 0.05 > seconds[0.0], "else nothing was to hide"
    assert seconds[0.05] - seconds[0.0] < n_requests * 0.05 / 3, seconds


@pytest.mark.faults_short
def test_killed_workers_leave_no_copies(server: S3Server, tmp_path: Path) -> None:
    """kill -9 of workers while they fetch and decode: the same command finishes, the corpus is that of the folder."""
    folder = make_recordings(tmp_path / "src", 60)
    put(server, folder, "killed")
    run(folder, tmp_path / "local")
    rng, kills = random.Random(6), 0
    with Proxy(server.port) as proxy:
        proxy.switch(latency_s=0.02)
        for _ in range(4):
            with Run(f"s3://{BUCKET}/killed", tmp_path / "out", "--workers", "2", env=proxy.env) as ours:
                kills += strike(ours, "worker", rng, 9)
                assert ours.finish() == 0, ours.said  # which looks for files that are left
            if kills:
                break
    assert kills
    same_corpus(tmp_path / "out", tmp_path / "local", "after kills")


def test_a_segment_does_not_fetch_the_whole_file(tmp_path: Path) -> None:
    """Segments of long WAV and FLAC files behind a URL, one of them in a tar: the rows of the disk, few bytes."""
    folder = tmp_path / "src"
    folder.mkdir()
    x = np.random.default_rng(3).standard_normal((16000 * 300, 1)) * 0.1
    names = ["a.wav", "b.flac"]
    for name in names:
        sf.write(folder / name, x, 16000)
    rows = [
        {"id": f"{name}-{at}", "audio_filepath": name, "offset": at, "duration": 2.5}
        for name in names
        for at in (0.5, 100.25, 251.0)
    ]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with tarfile.open(folder / "audio_0.tar", "w") as tar:
        tar.add(folder / "b.flac", "b.flac")
    tarred = [{**row, "shard_id": 0} for row in rows[3:]]
    (folder / "tarred.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tarred))
    run(folder / "all.jsonl", tmp_path / "disk")
    n_bytes = sum((folder / name).stat().st_size for name in names)
    with WebServer(folder) as web:
        run(f"{web.url}/all.jsonl", tmp_path / "web")
        sent = sent_by(web)
        web.requests.clear()
        run(f"{web.url}/tarred.jsonl", tmp_path / "tarred")
        sent_of_tar = sent_by(web)
    assert rows_of_ids(tmp_path / "web") == rows_of_ids(tmp_path / "disk")
    of_flac = {name: row for name, row in rows_of_ids(tmp_path / "disk").items() if name.startswith("b.flac")}
    assert rows_of_ids(tmp_path / "tarred") == of_flac
    assert sent < 0.6 * n_bytes
    assert sent_of_tar < 0.9 * (folder / "b.flac").stat().st_size  # 4 MiB of it to list the tar


def rows_of_ids(out: Path) -> dict[str, dict]:
    """Rows by id, but for where their audio lies and what the manifest says of the tar."""
    kept = {}
    for row in rows(out):
        kept[row["id"]] = {name: value for name, value in row.items() if name not in {"outputs", "fields"}}
    return kept


def sent_by(web: WebServer) -> int:
    """Bytes that were asked for in ranges; a request without one counts as a gigabyte."""
    total = 0
    for method, path, ranges in web.requests:
        if method == "GET" and not path.endswith(".jsonl"):
            first, _, last = ranges.removeprefix("bytes=").partition("-")
            total += int(last) - int(first) + 1 if last else 10**9
    return total
