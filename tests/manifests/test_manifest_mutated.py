"""Lhotse's items and fields with times, with anything in the place of anything: rows or a ManifestError, no other."""

from __future__ import annotations

import copy
import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.clock import Timeline
from corpusdiff.manifests.lhotse import JoinedManifest, LhotseManifest, SupervisionManifest
from corpusdiff.manifests.times import Stretch

SUPERVISION = {
    "id": "s", "recording_id": "r", "start": 0.5, "duration": 1.0, "channel": 0, "text": "a b", "speaker": "x",
    "alignment": {"word": [["a", 0.5, 0.5, 1.0], ["b", 1.0, 0.5, None]]}, "custom": {"k": [1]},
}  # fmt: skip
RECORDING = {
    "id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}], "sampling_rate": 16000,
    "num_samples": 32000, "duration": 2.0, "channel_ids": [0, 1],
}  # fmt: skip
CUT = {
    "id": "c", "start": 0.5, "duration": 1.0, "channel": 1, "recording": RECORDING, "type": "MonoCut",
    "supervisions": [SUPERVISION], "custom": {"k": {"a": 1}},
}  # fmt: skip
FIELDS = {
    "supervisions": [SUPERVISION, SUPERVISION], "text": "a b a b", "alignment": SUPERVISION["alignment"],
    "words": [{"word": "a", "start": 0.0, "end": 1.0, "chunks": [{"timestamp": [0.0, 0.5]}]}],
    "segments": {"start": [0.0, 1.0], "end": [0.5, 2.0]},
}  # fmt: skip

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=3),
    st.just([]), st.just({}), st.lists(st.integers(0, 3), max_size=3), st.just([None]), st.just([{}]),
    st.just({"start": 1}), st.just("[1]"), st.just('{"a": 1}'),
)  # fmt: skip


def places(value, before=()):
    """Paths of all nodes of a JSON value."""
    yield before
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*before, key))


@st.composite
def mutated(draw, value):
    """The value with one or two of its nodes changed or gone."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in places(value) if place]))
        node = value
        for key in way:
            node = node[key]
        if draw(st.booleans()):
            node[last] = copy.deepcopy(draw(ODD))
        elif isinstance(node, dict):
            del node[last]
        if not list(places(value))[1:]:
            break
    return value


def read_all(manifest):
    """All tracks, or the error that says why not."""
    with suppress(ManifestError):
        list(manifest.tracks())


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutated(CUT), mutated(RECORDING), mutated(SUPERVISION)))
def test_items(tmp_path_factory, item):
    """Alone, joined, and as the other half of a join."""
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    for name, written in (("odd", item), ("recordings", RECORDING), ("supervisions", SUPERVISION)):
        (folder / f"{name}.jsonl").write_text(json.dumps(written) + "\n")
    odd, recordings, supervisions = (str(folder / f"{name}.jsonl") for name in ("odd", "recordings", "supervisions"))
    read_all(LhotseManifest(odd))
    read_all(JoinedManifest(odd, supervisions))
    read_all(JoinedManifest(recordings, odd))
    read_all(SupervisionManifest(odd, recordings))
    read_all(SupervisionManifest(supervisions, odd))


@settings(max_examples=400, deadline=None)
@given(mutated(FIELDS), st.floats(0, 3), st.sampled_from([0.5, 2.0]), st.booleans())
def test_fields(fields, start_s, pace, as_text):
    """What comes of them is JSON again, with the same names."""
    if as_text:
        fields = {name: json.dumps(value) for name, value in fields.items()}
    found = Timeline(fields, 2.0).at(Stretch(start_s, pace, 1.0))
    assert found.keys() == fields.keys()
    json.dumps(found)
