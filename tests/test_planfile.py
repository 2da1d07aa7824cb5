"""``plan.json`` comes back as it was written, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.errors import StoreError
from corpusdiff.jobfile import load_job
from corpusdiff.plan import Plan
from corpusdiff.planfile import changed_since, dump_plan, load_plan, made_here

PLAN = Plan(
    generation=0,
    source="/é",
    kind="folder",
    root="/r",
    manifest_digest="ab",
    n_tracks=5,
    fields={"n": "int"},
    job={"chain": [{"stage": "gain", "gain_db": -1.0}], "loudness": None},
    job_digest="cd",
    bounds=(0, 2, 5),
    chunk=4096,
    arrays=((8000, 1),),
    seconds=12.5,
)
MADE = {"versions": {"numpy": "2.1"}, "cpu": ["AVX2"], "time": "2025-01-01T00:00:00Z", "command": ["x"]}


def test_a_plan_comes_back() -> None:
    """Plan, digest and maker survive; the same plan is spelled with the same bytes."""
    data = dump_plan(PLAN, MADE)
    plan, made = load_plan(data)
    assert (plan, plan.digest, made) == (PLAN, PLAN.digest, MADE)
    assert dump_plan(plan, made) == data


def test_a_real_job_and_maker_come_back() -> None:
    """A ready job's canonical form and what this machine says of itself are JSON."""
    job = load_job("asr")
    plan = Plan.from_dict({**PLAN.to_dict(), "job": job.to_dict(), "job_digest": job.digest})
    loaded, made = load_plan(dump_plan(plan, made_here()))
    assert type(job).from_dict(loaded.job) == job
    assert {"python", "corpusdiff", "numpy", "soundfile"} <= made["versions"].keys()


def test_any_flipped_bit_is_found() -> None:
    """Each single bit of the file, flipped, makes it unreadable."""
    data = dump_plan(PLAN, MADE)
    for i in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[i // 8] ^= 1 << i % 8
        with pytest.raises(StoreError, match="damaged"):
            load_plan(bytes(damaged))


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text('[]{}":,0123456789.eE-+naN', max_size=60).map(str.encode))
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    """Random bytes and near-JSON give StoreError and nothing else."""
    with pytest.raises(StoreError, match="damaged"):
        load_plan(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"bounds":[0,2,5]', b'"bounds":[0,1e999,5]'),
        (b'"bounds":[0,2,5]', b'"bounds":[0,2.0,5]'),
        (b'"seconds":12.5', b'"seconds":NaN'),
        (b'"seconds":12.5', b'"seconds":12.50'),
        (b'"chunk":4096', b'"chunk":8192'),
        (b'"n_tracks":5', b'"n_tracks":5,"more":1'),
        (b'"n_tracks":5,', b""),
        (b'"plan":{', b'"plan":' + b"[" * 100_000 + b"{"),
        (b"}\n", b"} \n"),
        (b"}\n", b"}"),
    ],
    ids=range(10),
)
def test_other_damage_is_found(old: bytes, new: bytes) -> None:
    """Values, spelling, keys and ends that differ are refused, also where they parse."""
    data = dump_plan(PLAN, MADE)
    damaged = data.replace(old, new)
    assert damaged != data
    with pytest.raises(StoreError, match="damaged"):
        load_plan(damaged)


def test_a_path_that_is_no_utf8_comes_back() -> None:
    """Linux paths are bytes; Python's stand-ins for what is no UTF-8 survive."""
    source = b"/caf\xe9".decode("utf-8", "surrogateescape")
    plan = Plan.from_dict({**PLAN.to_dict(), "source": source, "root": source})
    data = dump_plan(plan, {**MADE, "command": ["corpusdiff", "run", source]})
    loaded, made = load_plan(data)
    assert loaded.source == made["command"][2] == source
    assert json.loads(data)["plan"]["source"] == source


def test_changes_since_are_named() -> None:
    """Another version, a package that was not there and another processor are told; nothing else is."""
    made = made_here()
    assert changed_since(made) == []
    there = made["versions"]
    other = {**made, "versions": {**there, "numpy": "1.0"}, "cpu": []}
    del other["versions"]["soxr"]
    lines = changed_since(other)
    assert [line.split()[0] for line in lines] == ["numpy", "soxr", "another"]
    assert lines[0] == f"numpy 1.0 then, {there['numpy']} now"
