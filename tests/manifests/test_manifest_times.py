"""Times of supervisions, alignments and words: moved with the audio, clipped where it is cut, told where it is."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.manifests.base import Track
from corpusdiff.manifests.clock import Clock, Timeline
from corpusdiff.manifests.timed import said
from corpusdiff.manifests.times import Stretch


def at(fields, *stretch, track_s=None):
    """Fields of a track as they are for a stretch of it."""
    return Timeline(fields, track_s).at(Stretch(*stretch))


def supervision(start, duration, text="a", **more):
    """A supervision as Lhotse writes it."""
    return {"id": f"s{start}", "recording_id": "r", "start": start, "duration": duration, "channel": 0, "text": text,
            **more}  # fmt: skip


ALIGNED = supervision(
    1.0, 2.0, "one two", alignment={"word": [["one", 1.0, 0.75, 0.5], ["two", 2.0, 1.0, 0.25]]}, custom={"k": [1]}
)


def test_a_supervision_moves_with_its_alignment():
    """All of it is inside: start and alignment are counted from the row, whatever else it says stays."""
    found = at({"supervisions": [ALIGNED], "other": {"start": 3}}, 0.5, 1.0, 4.0)
    assert found["other"] == {"start": 3}
    assert found["supervisions"] == [
        ALIGNED | {"start": 0.5, "alignment": {"word": [["one", 0.5, 0.75, 0.5], ["two", 1.5, 1.0, 0.25]]}}
    ]


def test_what_is_cut_says_so():
    """Clipped at both ends, with the times that it had; words outside go, words inside stay."""
    found = at({"supervisions": [ALIGNED]}, 1.5, 1.0, 1.0)
    (left,) = found["supervisions"]
    assert (left["start"], left["duration"]) == (0.0, 1.0)
    assert left["custom"] == {"k": [1], "clipped": {"start": 1.0, "duration": 2.0, "text": "one two"}}
    assert left["alignment"] == {"word": [["one", 0.0, 0.25, 0.5], ["two", 0.5, 0.5, 0.25]]}


def test_the_text_of_what_is_cut_goes_with_its_words():
    """A word is where its middle is, and so in one of two rows; a text that is not just those words stays whole."""
    rows = [at({"supervisions": [ALIGNED], "text": "one two"}, *stretch) for stretch in ((0, 1, 1.5), (1.5, 1, 2.0))]
    assert [row["text"] for row in rows] == ["one", "two"]
    assert [row["supervisions"][0]["text"] for row in rows] == ["one", "two"]
    (left,) = at({"supervisions": [ALIGNED | {"text": "One, two!"}]}, 1.5, 1.0, 2.0)["supervisions"]
    assert (left["text"], left["custom"]["clipped"]) == ("One, two!", {"start": 1.0, "duration": 2.0})
    (left,) = at({"supervisions": [supervision(1.0, 2.0, "one two")]}, 1.5, 1.0, 2.0)["supervisions"]
    assert left["text"] == "one two"


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 1.0), (3.0, 1.0), (0.0, 1.0005), (2.9995, 1.0)])
def test_what_lies_outside_is_left_out(start_s, end_s):
    """Also where less than a millisecond of it is inside."""
    assert at({"supervisions": [ALIGNED]}, start_s, 1.0, end_s) == {"supervisions": []}


def test_a_cut_of_less_than_a_millisecond_is_none():
    """An end that is 0.4 ms beyond the audio's is put on it, without a word."""
    (left,) = at({"supervisions": [ALIGNED]}, 0.0, 1.0, 2.9996)["supervisions"]
    assert (left["duration"], left["custom"]) == (1.9996, {"k": [1]})


def test_speed_and_tempo():
    """Twice as fast, all times are half; nothing is cut off where the job does not cut."""
    clock = Clock.of_job({"source": {"speed": 0.8, "tempo": 2.5}, "vad": None})
    assert clock == Clock(cuts=False, pace=2.0)
    track = Track("t", "t.wav", fields={"supervisions": [ALIGNED], "words": [{"word": "x", "start": 9, "end": 90}]})
    row = {"sr": 100, "n_samples": 200, "start_s": 0.0, "status": "ok"}
    (found,) = clock.fields(track, [row])
    assert found["words"] == [{"word": "x", "start": 4.5, "end": 45.0}]
    (left,) = found["supervisions"]
    assert (left["start"], left["duration"], left["alignment"]["word"][1]) == (0.5, 1.0, ["two", 1.0, 0.5, 0.25])


@pytest.mark.parametrize(
    ("job", "status"), [({"source": {}}, "ok"), ({"source": {"segment_s": 5.0}}, "failed"), ({"name": "old"}, "ok")]
)
def test_where_nothing_moves_nothing_changes(job, status):
    """Jobs without cuts, and rows without audio."""
    fields = {"supervisions": [supervision(5.0, 100.0)], "text": "a"}
    track = Track("t", "t.wav", fields=fields)
    row = {"sr": 100, "n_samples": 200, "start_s": 0.0, "status": status}
    assert [*Clock.of_job(job).fields(track, [row])] == [fields]


WORDS = [{"word": "a", "start": 0, "end": 1.0, "p": 0.5}, {"word": "b", "start": 1.0, "end": 3.0}]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("words", WORDS, [{"word": "b", "start": 0.0, "end": 1.5, "clipped": {"start": 1.0, "end": 3.0}}]),
        ("segments", [{"text": "t", "start": 1.5, "duration": 1.0}], [{"text": "t", "start": 0.0, "duration": 1.0}]),
        ("chunks", [{"text": "t", "timestamp": [2.0, 2.5]}], [{"text": "t", "timestamp": [0.5, 1.0]}]),
        (
            "segments",
            [{"start": 1.5, "end": 3.0, "words": [{"start": 2.5, "end": 2.75}]}],
            [{"start": 0.0, "end": 1.5, "words": [{"start": 1.0, "end": 1.25}]}],
        ),
        ("alignment", {"word": [["a", 2.0, 0.5, None]]}, {"word": [["a", 0.5, 0.5, None]]}),
        (
            "words",
            {"word": ["a", "b", "c"], "start": [0.0, 1.0, 2.0], "end": [1.0, 2.0, 2.5]},
            {"word": ["b", "c"], "start": [0.0, 0.5], "end": [0.5, 1.0], "clipped": [{"start": 1.0, "end": 2.0}, None]},
        ),
        ("words", json.dumps([{"start": 2.0, "end": 2.5}]), '[{"start": 0.5, "end": 1.0}]'),
        ("supervisions", json.dumps([{"start": 2, "duration": 1}]), '[{"start": 0.5, "duration": 1.0}]'),
    ],
)
def test_lists_of_words_and_segments(name, value, expected):
    """In the shapes that are usual for them, as JSON and as the text of a CSV's cell."""
    assert at({name: value}, 1.5, 1.0, 1.5, track_s=3.0) == {name: expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("words", "just words"),
        ("words", 17),
        ("words", "[not JSON"),
        ("words", ["a", "b"]),
        ("words", [{"word": "a", "start": 2000, "end": 3000}]),  # milliseconds
        ("words", [{"word": "a", "start": 3.0, "end": 2.0}]),
        ("chunks", [{"text": "t", "timestamp": [2.0, None]}]),
        ("alignment", {"word": ["a"]}),
        ("segments", []),
        ("words", {"word": ["a"], "start": [0.5, 1.0]}),
        ("words", {"word": ["a"], "start": ["0.5"]}),
        ("supervisions", [{"start": "1"}]),
        ("anything", WORDS),
    ],
)
def test_what_is_not_surely_time_stays(name, value):
    """Other names, other shapes, other units."""
    assert at({name: value}, 1.5, 1.0, 1.5, track_s=3.0) == {name: value}


def test_texts_of_rows_are_those_of_their_supervisions():
    """A row says what is said in it, where the track's own text was made of its supervisions."""
    three = [supervision(0.0, 1.0, "a", speaker="x"), supervision(2.0, 1.0, "b", speaker="y"),
             supervision(3.0, 1.0, "c", speaker="y")]  # fmt: skip
    fields = {"supervisions": three, "text": "a b c", "speaker": "theirs", **said(three)}
    assert at(fields, 1.5, 1.0, 3.0) | {"supervisions": 0} == {
        "supervisions": 0, "text": "b c", "speaker": "theirs",
    }  # fmt: skip
    assert at(fields, 9.0, 1.0, 1.0)["text"] is None
    assert at(fields | {"text": "by hand"}, 9.0, 1.0, 1.0)["text"] == "by hand"


TIMES = st.integers(0, 40000).map(lambda ms: ms / 1000)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=8), st.lists(TIMES, max_size=6), st.floats(0.5, 2.0))
def test_segments_share_a_track_without_loss(spans, cuts, pace):
    """Over consecutive segments every supervision's time is there once, to a millisecond, and no other."""
    track = [supervision(start, length) for start, length in spans if length]
    edges = [0.0, *sorted(set(cuts) - {0.0}), 100.0]
    found = dict.fromkeys(range(len(track)), 0.0)
    for start, stop in pairwise(edges):
        rows = [item | {"id": i} for i, item in enumerate(track)]
        length = (stop - start) / pace
        for item in at({"supervisions": rows}, start, pace, length)["supervisions"]:
            assert 0 <= item["start"] <= item["start"] + item["duration"] <= length + 1e-7
            was = track[item["id"]]
            begin = max(was["start"], start)
            assert item["start"] == pytest.approx((begin - start) / pace, abs=1e-6)
            assert ("custom" in item) == (was["start"] < start - 1e-3 * pace or was["start"] + was["duration"]
                                          > stop + 1e-3 * pace)  # fmt: skip
            found[item["id"]] += item["duration"] * pace
    for i, item in enumerate(track):
        assert found[i] == pytest.approx(item["duration"], abs=2e-3 * (len(edges) + 1))
