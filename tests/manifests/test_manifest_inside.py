"""Recordings inside tars and tables: the rows and the audio of the same files on disk, whatever holds them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from needs import needs
from servers import BUCKET, Proxy, S3Server
from web_server import WebServer, nginx

from corpusdiff.driver import execute
from corpusdiff.errors import ManifestError
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import open_manifest, transport
from corpusdiff.manifests.members import tar_members
from corpusdiff.prepare import add_generation
from corpusdiff.request import RunRequest
from corpusdiff.store.generations import read_plans, read_record
from corpusdiff.store.objects import open_objects

IDS = [f"utt{i}" for i in range(7)]


@pytest.fixture(scope="module")
def recordings():
    """Bytes of files in WAV and FLAC, one of them damaged, and what is known of each."""
    rng = np.random.default_rng(9)
    found = {}
    for i, name in enumerate(IDS):
        buffer = io.BytesIO()
        form = ("WAV", "FLAC")[i % 2]
        sf.write(buffer, 0.1 * rng.standard_normal((8000 + 999 * i, 1 + (i == 3))), 16000, format=form)
        data = buffer.getvalue() if i != 5 else b"fLaC" + bytes(50)
        row = {"text": f"text {i} é", "speaker": f"s{i % 2}", "unknown": {"nested": [i]}}
        found[name] = (f"{name}.{form.lower()}", data, row)
    return found


def put_tar(path, members):
    """A tar of (name, bytes)."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def as_files(folder, recordings):
    """Files and NeMo's manifest."""
    rows = []
    for track_id, (name, data, row) in recordings.items():
        (folder / name).write_bytes(data)
        rows.append({"id": track_id, "audio_filepath": name, **row})
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "all.jsonl"


def as_webdataset(folder, recordings):
    """Two tars of samples, text and JSON beside the audio."""
    for number, chosen in enumerate((IDS[:4], IDS[4:])):
        members = []
        for track_id in chosen:
            name, data, row = recordings[track_id]
            rest = {key: value for key, value in row.items() if key != "text"}
            members += [(name, data), (f"{track_id}.json", json.dumps(rest).encode())]
            members.append((f"{track_id}.txt", row["text"].encode()))
        put_tar(folder / f"train-{number:03d}.tar", members)
    return folder


def as_nemo(folder, recordings):
    """Tars and a manifest with the tars' numbers, its rows in no order."""
    rows = []
    for number, chosen in enumerate((IDS[:4], IDS[4:])):
        put_tar(folder / f"audio_{number}.tar", [recordings[i][:2] for i in chosen])
        rows += [{"id": i, "audio_filepath": recordings[i][0], "shard_id": number, **recordings[i][2]} for i in chosen]
    rows.sort(key=lambda row: IDS.index(row["id"]) % 3)
    (folder / "tarred_audio_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def as_shar(folder, recordings):
    """Cuts and tars in the same order."""
    lines, members = [], []
    for i, (track_id, (name, data, row)) in enumerate(recordings.items()):
        channels = [0, 1] if i == 3 else [0]
        recording = {
            "id": track_id, "sources": [{"type": "shar", "channels": channels, "source": ""}], "sampling_rate": 16000,
            "num_samples": 8000 + 999 * i, "duration": (8000 + 999 * i) / 16000, "channel_ids": channels,
        }  # fmt: skip
        supervision = {"id": track_id, "recording_id": track_id, "start": 0, "duration": recording["duration"]}
        lines.append(
            {"id": track_id, "start": 0.0, "duration": recording["duration"], "recording": recording,
             "channel": channels if i == 3 else 0, "custom": {"unknown": row["unknown"]},
             "supervisions": [supervision | {"text": row["text"], "speaker": row["speaker"], "channel": 0}],
             "type": "MultiCut" if i == 3 else "MonoCut"}
        )  # fmt: skip
        members += [(name, data), (f"{track_id}.json", json.dumps(recording).encode())]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    put_tar(folder / "recording.000000.tar", members)
    return folder


def table_of(recordings):
    """A table with a column of audio."""
    audio = [{"bytes": data, "path": name} for name, data, _ in recordings.values()]
    rows = [row for _, _, row in recordings.values()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"id": list(recordings), "audio": pa.array(audio, kind)}
    return pa.table(columns | {name: [row[name] for row in rows] for name in rows[0]})


def as_parquet(folder, recordings):
    """Files of a few rows in groups of two, as the hub has them."""
    (folder / "data").mkdir()
    table = table_of(recordings)
    pq.write_table(table.slice(0, 5), folder / "data/train-00000-of-00002.parquet", row_group_size=2)
    pq.write_table(table.slice(5), folder / "data/train-00001-of-00002.parquet")
    return folder


def as_saved(folder, recordings):
    """What ``save_to_disk`` makes: an Arrow stream of small batches, and two JSON files."""
    name = "data-00000-of-00001.arrow"
    table = table_of(recordings)
    with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=3):
            writer.write_batch(batch)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


FORMS = [as_webdataset, as_nemo, as_shar, as_parquet, as_saved]


def rows_of(source, out, expect=3):
    """Rows of a run over a source, by id, but for what they say of paths and of what the form itself adds."""
    code = execute(RunRequest(str(source), str(out), job="codec-lossless", cluster="none", shard_s=2.0))
    assert code == expect
    objects = open_objects(str(out), write=False)
    (plan,) = read_plans(objects)
    found = {}
    for shard in range(plan.n_shards):
        for row in read_record(objects, plan, shard).rows:
            fields = {name: row["fields"].get(name) for name in ("text", "speaker", "unknown")}
            kept = {name: value for name, value in row.items() if name not in {"path", "row", "offset", "outputs"}}
            kept["metrics"] = {key: value for key, value in row["metrics"].items() if key != "header_diff_s"}
            found[row["id"]] = kept | {"fields": fields}
    return found


@pytest.fixture(scope="module")
def expected(recordings, tmp_path_factory):
    """The rows of the same files on disk."""
    folder = tmp_path_factory.mktemp("files")
    found = rows_of(as_files(folder, recordings), folder / "out")
    assert {name for name, row in found.items() if row["status"] == "failed"} == {"utt5"}
    return found


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_the_same_rows_as_from_disk(recordings, expected, tmp_path, form):
    """Samples, metrics, texts, unknown keys and failures."""
    (tmp_path / "in").mkdir()
    found = rows_of(form(tmp_path / "in", recordings), tmp_path / "out")
    assert found.keys() == expected.keys()
    for name, row in found.items():
        assert row == expected[name], name


SERVED = {
    as_files: "all.jsonl", as_webdataset: "train-{000..001}.tar", as_nemo: "tarred_audio_manifest.json", as_shar: "",
    as_parquet: "data/train-00000-of-00002.parquet",
}  # fmt: skip


def same_from(url, form, expected, out):
    """Assert that a run over what a server has gives the rows of the files."""
    if form is as_parquet:  # without the file that holds the damaged one
        expected = {name: expected[name] for name in IDS[:5]}
    assert rows_of(f"{url}/{SERVED[form]}", out, expect=0 if form is as_parquet else 3) == expected


@pytest.mark.parametrize("form", SERVED, ids=lambda form: form.__name__)
def test_the_same_rows_from_a_server(recordings, expected, tmp_path, form):
    """Members come by their ranges."""
    (tmp_path / "in").mkdir()
    form(tmp_path / "in", recordings)
    with WebServer(tmp_path / "in") as web:
        same_from(web.url, form, expected, tmp_path / "out")


@needs("nginx")
def test_the_same_rows_from_nginx(recordings, expected, tmp_path):
    """A server that people have."""
    (tmp_path / "in").mkdir()
    for form in SERVED:
        (tmp_path / "in" / form.__name__).mkdir()
        form(tmp_path / "in" / form.__name__, recordings)
    with nginx(tmp_path / "in", tmp_path) as url:
        for form in SERVED:
            same_from(f"{url}/{form.__name__}", form, expected, tmp_path / f"out-{form.__name__}")


def test_the_same_rows_from_a_bucket(recordings, expected, tmp_path, monkeypatch):
    """The same on S3."""
    pytest.importorskip("moto.server", reason="needs moto[server]")
    for form in SERVED:
        (tmp_path / form.__name__).mkdir()
        form(tmp_path / form.__name__, recordings)
    transport._filesystem.cache_clear()  # clients of another server
    with S3Server() as server, Proxy(server.port) as proxy:
        for name, value in proxy.env.items():
            monkeypatch.setenv(name, value)
        for form in SERVED:
            folder = tmp_path / form.__name__
            for path in folder.rglob("*"):
                if path.is_file():
                    key = f"/{BUCKET}/{form.__name__}/{path.relative_to(folder)}"
                    assert server.request("PUT", key, path.read_bytes()) == 200
            same_from(f"s3://{BUCKET}/{form.__name__}", form, expected, tmp_path / f"out-{form.__name__}")
    transport._filesystem.cache_clear()


def test_a_tar_that_has_changed(recordings, tmp_path):
    """What lies at a member's place now is something else: it fails, and says what to do."""
    as_webdataset(tmp_path, recordings)
    request = RunRequest(str(tmp_path), str(tmp_path.parent / "changed"), job="codec-lossless", cluster="none")
    tracks = list(open_manifest(str(tmp_path)).tracks())
    assert [track.id for track in tracks] == IDS
    objects = open_objects(request.out)
    job, manifest = load_job(request.job), open_manifest(request.source)
    add_generation(objects, [], manifest, iter(tracks), job, portable=False, spool=None)
    put_tar(tmp_path / "train-000.tar", [(recordings["utt1"][0], recordings["utt1"][1])])
    assert execute(request) == 3
    rows = read_record(objects, read_plans(objects)[0], 0).rows
    assert [row["reason"] for row in rows[:4]] == ["missing"] * 4
    assert "has changed since the plan was made" in rows[0]["error"]
    assert rows[4]["status"] == "ok"


def test_members_that_are_not_there(recordings, tmp_path):
    """A row of a member that the tar lacks fails alone, as does one of a tar that is not there."""
    as_nemo(tmp_path, recordings)
    with (tmp_path / "tarred_audio_manifest.json").open("a") as file:
        file.write(json.dumps({"id": "x", "audio_filepath": "absent.wav", "shard_id": 0}) + "\n")
        file.write(json.dumps({"id": "y", "audio_filepath": "absent.wav", "shard_id": 9}) + "\n")
    found = rows_of(tmp_path, tmp_path.parent / "absent")
    assert {name: row["reason"] for name, row in found.items() if row["status"] == "failed"} == {
        "utt5": found["utt5"]["reason"], "x": "missing", "y": "missing",
    }  # fmt: skip


def test_hostile_tars(tmp_path):
    """Names that lead elsewhere are names; links are nothing; what is cut off, packed or absurd is one error."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("/etc/passwd.wav", "../../up.wav", "x" * 300 + ".wav"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"RIFF"))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
    assert [member.name for member in tar_members(str(path))] == ["/etc/passwd.wav", "../../up.wav", "x" * 300 + ".wav"]
    tracks = list(open_manifest(str(path)).tracks())
    assert [track.path for track in tracks][:2] == ["a.tar::/etc/passwd.wav", "a.tar::../../up.wav"]
    data = path.read_bytes()
    for harmed in (data[:700], data[:100], b"\x1f\x8b" + data, data[:1024] + b"\xff" * 512 + data[1536:]):
        path.write_bytes(harmed)
        with pytest.raises(ManifestError, match="a.tar"):
            list(tar_members(str(path)))
    bomb = tarfile.TarInfo("bomb")
    bomb.type, bomb.size = tarfile.XHDTYPE, 2**40
    path.write_bytes(bomb.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(ManifestError, match="header of 1099511627776 bytes"):
        list(tar_members(str(path)))
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        link = tarfile.TarInfo("one of many")
        link.type, link.size = kind, 1
        path.write_bytes((link.tobuf(tarfile.GNU_FORMAT) + b"x" + bytes(511)) * 5000 + bytes(1024))
        with pytest.raises(ManifestError, match="a.tar"):
            list(tar_members(str(path)))
    huge = tarfile.TarInfo("huge.wav")
    huge.size = 2**50
    path.write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(ManifestError, match="huge.wav"):
        list(tar_members(str(path)))


def test_keys_end_at_the_first_dot(tmp_path):
    """As WebDataset has it; several recordings of one key are told apart, hidden files are left."""
    put_tar(
        tmp_path / "a.tar",
        [
            ("d.x/u1.mic.wav", b"RIFF"),
            ("d.x/u1.ref.wav", b"RIFF"),
            ("d.x/u1.json", b'{"a": 1}'),
            ("d.x/._u1.wav", b"R"),
        ],
    )
    tracks = list(open_manifest(str(tmp_path / "a.tar")).tracks())
    assert [(track.id, dict(track.fields)) for track in tracks] == [
        ("d.x/u1.mic.wav", {"a": 1}), ("d.x/u1.ref.wav", {"a": 1}),
    ]  # fmt: skip
