"""Jobs as values: their bounds, their canonical form, their digest, and what differs between two."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.encode import open_encoder
from corpusdiff.errors import ParameterError
from corpusdiff.job import Job, diff_jobs
from corpusdiff.specs import LoudnessSpec, OutputSpec, SourceSpec
from corpusdiff.stages.registry import available, create, stage_class

gains = st.floats(-20, 20).map(lambda gain_db: create("gain", {"gain_db": gain_db}))
levels = st.integers(0, 9).map(lambda steps: create("level", {"steps": steps}))
highpasses = st.floats(10, 200).map(lambda cutoff_hz: create("highpass", {"cutoff_hz": cutoff_hz}))
outputs = st.lists(
    st.builds(OutputSpec, name=st.sampled_from(["a", "b", "c2_x"]), bits=st.sampled_from([16, 24]))
    | st.builds(
        OutputSpec,
        name=st.sampled_from(["low", "high"]),
        encoding=st.just("opus"),
        bitrate_kbps=st.sampled_from([12.0, 24.0]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda output: output.name,
).map(tuple)
jobs = st.builds(
    Job,
    name=st.text(max_size=5),
    description=st.text(max_size=5),
    source=st.builds(SourceSpec, sr=st.sampled_from([None, 8000, 16000]), channels=st.sampled_from([None, 1])),
    chain=st.lists(gains | levels | highpasses, max_size=4).map(tuple),
    loudness=st.none() | st.builds(LoudnessSpec, target_lufs=st.sampled_from([-23.0, -20.0])),
    outputs=outputs,
)


@given(jobs)
def test_a_job_survives_json(job: Job) -> None:
    """Canonical form to JSON and back gives an equal job of equal digest."""
    back = Job.from_dict(json.loads(json.dumps(job.to_dict())))
    assert back == job
    assert back.digest == job.digest


@given(jobs, jobs)
def test_differences_are_told_exactly_where_digests_differ(one: Job, other: Job) -> None:
    """No difference in words means one digest, and the other way round."""
    told = diff_jobs(one.to_dict(), other.to_dict())
    assert (told == []) == (one.digest == other.digest)
    assert all(" here, " in line and line.endswith(" in OUT") for line in told)


@given(jobs, st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_keys(job: Job, random: Any) -> None:
    """A canonical form with its keys shuffled is the same job."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            return {name: shuffled(item) for name, item in items}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert Job.from_dict(shuffled(job.to_dict())).digest == job.digest


def test_name_and_description_change_no_digest() -> None:
    """They change no sample, so a corpus can be resumed under another name."""
    job = Job("a", "one")
    other = Job("b", "two")
    assert job.digest == other.digest
    assert diff_jobs(job.to_dict(), other.to_dict()) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"chain": (create("level", {}), create("gain", {}))},
            ["chain: gain, level here, level, gain in OUT"],
        ),
        (
            {"chain": (create("gain", {"gain_db": 3.0}), create("level", {}))},
            [f"chain.gain.gain_db: {stage_class('gain').gain_db} here, 3.0 in OUT"],
        ),
        ({"chain": ()}, ["chain: gain, level here, none in OUT"]),
        (
            {"loudness": LoudnessSpec(-20.0)},
            [
                'loudness: none here, {"target_lufs": -20.0, "max_gain_db": 30.0, "ceiling_dbtp": -1.0, '
                '"max_limiting_db": 6.0} in OUT'
            ],
        ),
        ({"source": SourceSpec(sr=8000)}, ["source.sr: none here, 8000 in OUT"]),
        ({"outputs": (OutputSpec(dither=False),)}, ["output.flac.dither: true here, false in OUT"]),
        ({"outputs": (OutputSpec(name="x"),)}, ["output: flac here, x in OUT"]),
    ],
    ids=["order", "value", "no chain", "section", "none", "bool", "output"],
)
def test_differences_read_well(other: dict[str, Any], said: list[str]) -> None:
    """Each is one line of key, value here and value there."""
    job = Job("x", chain=(create("gain", {}), create("level", {})))
    assert diff_jobs(job.to_dict(), replace(job, **other).to_dict()) == said


def test_two_stages_of_one_name_are_told_apart() -> None:
    """A change in the first of two equal stages is not hidden by the second."""
    job = Job("x", chain=(create("gain", {"gain_db": 1.0}), create("gain", {"gain_db": 2.0})))
    other = replace(job, chain=(create("gain", {"gain_db": 5.0}), create("gain", {"gain_db": 2.0})))
    assert diff_jobs(job.to_dict(), other.to_dict()) == ["chain.gain (1).gain_db: 1.0 here, 5.0 in OUT"]


@pytest.mark.parametrize("name", [name for name in available() if name != "onnx"])  # which needs a model
def test_every_stage_of_ours_goes_through_a_job(name: str) -> None:
    """With its defaults it survives the canonical form."""
    job = Job("x", chain=(create(name, {}),))
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))).chain == job.chain


@pytest.mark.parametrize(
    ("kind", "values", "name"),
    [
        (SourceSpec, {"sr": 0}, "sr"),
        (SourceSpec, {"sr": 1_000_000}, "sr"),
        (SourceSpec, {"channels": 0}, "channels"),
        (SourceSpec, {"segment_s": 0.0}, "segment_s"),
        (SourceSpec, {"segment_s": math.nan}, "segment_s"),
        (SourceSpec, {"segment_s": 5.0, "overlap_s": 5.0}, "overlap_s"),
        (SourceSpec, {"segment_s": 5.0, "overlap_s": -1.0}, "overlap_s"),
        (SourceSpec, {"segment_s": 5.0, "overlap_s": math.nan}, "overlap_s"),
        (SourceSpec, {"overlap_s": 1.0}, "overlap_s"),
        (SourceSpec, {"min_duration_s": -1.0}, "min_duration_s"),
        (SourceSpec, {"min_duration_s": math.nan}, "min_duration_s"),
        (SourceSpec, {"min_duration_s": 2.0, "max_duration_s": 1.0}, "max_duration_s"),
        (SourceSpec, {"min_duration_s": 1.0, "max_duration_s": 0.0}, "max_duration_s"),
        (SourceSpec, {"max_duration_s": math.inf}, "max_duration_s"),
        (SourceSpec, {"max_track_hours": 0.0}, "max_track_hours"),
        (LoudnessSpec, {"target_lufs": 1.0}, "target_lufs"),
        (LoudnessSpec, {"target_lufs": math.nan}, "target_lufs"),
        (LoudnessSpec, {"target_lufs": -23.0, "ceiling_dbtp": 0.5}, "ceiling_dbtp"),
        (LoudnessSpec, {"target_lufs": -23.0, "max_gain_db": -1.0}, "max_gain_db"),
        (LoudnessSpec, {"target_lufs": -23.0, "max_limiting_db": 41.0}, "max_limiting_db"),
        (OutputSpec, {"encoding": "aac"}, "encoding"),
        (OutputSpec, {"name": "Flac"}, "name"),
        (OutputSpec, {"name": "2x"}, "name"),
        (OutputSpec, {"name": "a-b"}, "name"),
        (OutputSpec, {"name": "a\n"}, "name"),
        (OutputSpec, {"name": "../x"}, "name"),
        (OutputSpec, {"bits": 32}, "bits"),
        (OutputSpec, {"level": 9}, "level"),
        (OutputSpec, {"encoding": "pcm", "level": 0}, "level"),
        (OutputSpec, {"bitrate_kbps": 24.0}, "bitrate_kbps"),
        (OutputSpec, {"complexity": 5}, "complexity"),
        (OutputSpec, {"encoding": "opus"}, "bitrate_kbps"),
        (OutputSpec, {"encoding": "opus", "bitrate_kbps": 5.0}, "bitrate_kbps"),
        (OutputSpec, {"encoding": "opus", "bitrate_kbps": 24.0, "complexity": 11}, "complexity"),
        (OutputSpec, {"encoding": "opus", "bitrate_kbps": 24.0, "bits": 24}, "bits"),
        (OutputSpec, {"encoding": "opus", "bitrate_kbps": 24.0, "level": 8}, "level"),
        (OutputSpec, {"encoding": "mp3", "bitrate_kbps": 400.0}, "bitrate_kbps"),
        (OutputSpec, {"encoding": "mp3", "bitrate_kbps": 64.0, "complexity": 5}, "complexity"),
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_refused(kind: type, values: dict[str, Any], name: str) -> None:
    """The error names the parameter and says what to give."""
    with pytest.raises(ParameterError, match=rf"^{name}: .*(give|has|leave|start|needs)") as caught:
        kind(**values)
    assert caught.value.name == name


@pytest.mark.parametrize("encoding", ["flac", "pcm", "opus", "vorbis", "mp3"])
def test_an_output_is_called_after_its_encoding(encoding: str) -> None:
    """Unless it has a name."""
    bitrate_kbps = None if encoding in {"flac", "pcm"} else 64.0
    assert OutputSpec(encoding=encoding, bitrate_kbps=bitrate_kbps).name == encoding
    assert OutputSpec("x", encoding, bitrate_kbps=bitrate_kbps).name == "x"


OPUS = OutputSpec(encoding="opus", bitrate_kbps=24.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"outputs": ()}, "at least one"),
        ({"outputs": (OutputSpec(), OutputSpec(bits=24))}, "two are called 'flac'"),
        ({"source": SourceSpec(sr=44100), "outputs": (OPUS,)}, "opus has no 44100 Hz.*16000"),
        ({"source": SourceSpec(sr=700_000)}, "FLAC has no 700000 Hz"),
        ({"source": SourceSpec(channels=3), "outputs": (OPUS,)}, "at most 2 channels"),
        (
            {"source": SourceSpec(channels=1), "outputs": (replace(OPUS, bitrate_kbps=300.0),)},
            r"output\.opus\.bitrate_kbps: got 300; give 6 to 256 kbit/s for one channel",
        ),
    ],
    ids=["none", "twice", "opus rate", "flac rate", "channels", "mono bit rate"],
)
def test_outputs_that_cannot_be_are_refused(values: dict[str, Any], said: str) -> None:
    """No output, a name twice, and what an encoding cannot hold at the job's rate."""
    with pytest.raises(ParameterError, match=said):
        Job("x", **values)


@pytest.mark.parametrize(("channels", "bitrate_kbps"), [(1, 6.0), (1, 256.0), (2, 512.0)])
def test_opus_takes_the_bit_rates_that_are_allowed(channels: int, bitrate_kbps: float) -> None:
    """libopus encodes at both ends of the bounds."""
    job = Job("x", source=SourceSpec(channels=channels), outputs=(replace(OPUS, bitrate_kbps=bitrate_kbps),))
    written: list[bytes] = []
    encoder = open_encoder(job.outputs[0], 16000, channels, 4096, "t", lambda index, data: written.append(data))
    noise = np.random.default_rng(0).standard_normal((channels, 16000)).astype(np.float32)
    encoder.write(0.1 * noise)
    assert encoder.close().n_bytes == len(written[0]) > 500
