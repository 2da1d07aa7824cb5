"""Job files and ``--set``: what is right is read, what is wrong is refused with key, file and remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.errors import JobError
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.specs import LoudnessSpec, OutputSpec, SourceSpec
from corpusdiff.stages import registry
from corpusdiff.stages.frame_gain import FrameGain
from corpusdiff.stages.level import Level

Write = Callable[[str], str]

FULL = """
name = "full"
description = "everything"

[source]
sr = 16000
channels = 1
segment_s = 10
overlap_s = 1.5

[[chain]]
stage = "gain"
gain_db = -3

[[chain]]
stage = "level"
k = -0.2
steps = 5

[[chain]]
stage = "gain"
gain_db = 2.5

[loudness]
target_lufs = -20

[[output]]
encoding = "flac"
bits = 24

[[output]]
name = "low"
encoding = "opus"
bitrate_kbps = 16
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a job file and gives its path."""
    path = tmp_path / "my.toml"

    def write(text: str) -> str:
        path.write_text(text)
        return str(path)

    return write


def refused(path: str, *sets: str) -> str:
    """The message with which a job is refused."""
    with pytest.raises(JobError) as caught:
        load_job(path, sets)
    return str(caught.value)


def test_a_file_is_read_in_full(write: Write) -> None:
    """Every section becomes its value; whole numbers become floats where floats belong."""
    job = load_job(write(FULL))
    assert (job.name, job.description) == ("full", "everything")
    assert job.source == SourceSpec(sr=16000, channels=1, segment_s=10.0, overlap_s=1.5)
    assert [stage.name for stage in job.chain] == ["gain", "level", "gain"]
    assert job.chain[1] == Level(k=-0.2, steps=5)
    assert job.loudness == LoudnessSpec(target_lufs=-20.0)
    assert job.outputs == (OutputSpec(bits=24), OutputSpec("low", "opus", bitrate_kbps=16.0))
    assert type(job.source.segment_s) is type(job.loudness.target_lufs) is float


def test_an_empty_file_is_a_job(write: Write) -> None:
    """It copies: no change, one FLAC, named after the file."""
    assert load_job(write("")) == Job("my")


def test_defaults_given_or_not_are_one_job(write: Write) -> None:
    """Writing out every default, in any order and spelling, changes no digest."""
    short = load_job(write('[source]\nsr = 8000\n[[chain]]\nstage = "gain"\n[loudness]\ntarget_lufs = -23\n'))
    long = load_job(
        write(
            'description = "the same"\n[[output]]\ndither = true\nname = "flac"\nlevel = 5\nbits = 16\n'
            "[loudness]\nmax_limiting_db = 6\nceiling_dbtp = -1\nmax_gain_db = 30.0\ntarget_lufs = -23.0\n"
            f'[[chain]]\ngain_db = {registry.stage_class("gain").gain_db}\nstage = "gain"\n'
            "[source]\nmax_track_hours = 24\nmin_duration_s = 0\noverlap_s = 0\nsr = 8_000\n"
        )
    )
    assert short.digest == long.digest
    assert short.description != long.description


@pytest.mark.parametrize(
    "item",
    [
        "source.sr=24000",
        "chain.level.k=-0.3",
        "loudness.ceiling_dbtp=-2",
        "output.low.bitrate_kbps=20",
        "loudness.max_gain_db=20",
    ],
)
def test_a_changed_value_changes_the_digest(write: Write, item: str) -> None:
    """Whatever changes a sample is in the digest."""
    path = write(FULL)
    assert load_job(path, [item]).digest != load_job(path).digest


@pytest.mark.parametrize("name", sorted(ready_jobs()))
def test_ready_jobs_load(name: str) -> None:
    """Each has its file's name and a description in one line."""
    job = load_job(name)
    assert job.name == name
    assert 10 < len(job.description) < 120
    assert "\n" not in job.description


@pytest.mark.parametrize("path", ready_jobs().values(), ids=lambda path: path.stem)
def test_ready_jobs_say_nothing_that_is_not_used(path: Path) -> None:
    """Every value of the file is in the job that it gives: none is dropped on the way."""
    document = tomllib.loads(path.read_text())
    canonical = load_job(str(path)).to_dict()
    for section in ("source", "loudness"):
        assert document.get(section, {}).items() <= (canonical[section] or {}).items()
    for section in ("chain", "output"):
        for given_, made in zip(document.get(section, []), canonical[section], strict=True):
            assert given_.items() <= made.items()


def test_asr_is_what_it_says() -> None:
    """16 kHz mono, rules for what needs treatment and next to nothing for the rest, -23 LUFS, 16-bit FLAC."""
    job = load_job("asr")
    assert (job.source.sr, job.source.channels) == (16000, 1)
    chains = {name: [stage.name for stage in chain] for name, chain in job.chains().items()}
    assert chains == {
        "muffled": ["highpass", "level", "timbre"],
        "noisy": ["highpass", "denoise"],
        "wandering": ["highpass", "level"],
        "default": ["highpass"],
    }
    clear = {"snr_db": 40.0, "bandwidth_hz": 8000.0, "loudness_range_lu": 3.0}
    for change, rule in [
        ({}, "default"),
        ({"snr_db": 10.0}, "noisy"),
        ({"bandwidth_hz": 1500.0}, "muffled"),
        ({"loudness_range_lu": 12.0}, "wandering"),
        ({"loudness_range_lu": float("nan")}, "default"),
    ]:
        assert job.rule_for(clear | change) == rule
    assert job.guard is not None
    assert job.loudness is not None
    assert (job.loudness.target_lufs, job.loudness.ceiling_dbtp) == (-23.0, -1.0)
    assert job.outputs == (OutputSpec(encoding="flac", bits=16),)


def test_codec_jobs_are_what_they_say() -> None:
    """One writes Opus at a bit rate that --set changes, the other FLAC."""
    assert [output.encoding for output in load_job("codec").outputs] == ["opus"]
    assert load_job("codec", ["output.opus.bitrate_kbps=12", "output.opus.complexity=10"]).outputs == (
        OutputSpec(encoding="opus", bitrate_kbps=12.0, complexity=10),
    )
    assert [output.encoding for output in load_job("codec-lossless").outputs] == ["flac"]


def test_listing_has_the_numbers_of_the_article() -> None:
    """1024 samples, k 0.1, 10 steps, 8 kHz."""
    job = load_job("listing")
    assert job.source.sr == 8000
    assert job.chain == (FrameGain(k=0.1, steps=10, frame_length=1024),)


# --- what is wrong ---------------------------------------------------------------------------------

LEVEL = '[[chain]]\nstage = "level"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sourc]\n", "sourc: unknown key: did you mean source?"),
        ("[rules]\n", "rules: unknown key: did you mean rule?"),
        ("target_lufs = -23\n", "target_lufs: unknown key: it belongs under [loudness]"),
        ("sr = 8000\n", "sr: unknown key: it belongs under [source]"),
        ("[source]\nsample_rate = 8000\n", "source.sample_rate: unknown key: did you mean sr?"),
        ("[source]\nn_channels = 1\n", "source.n_channels: unknown key: did you mean channels?"),
        ("[source]\nsegment_ms = 1\n", "source.segment_ms: unknown key: give segment_s, in seconds"),
        ("[source]\nmax_track = 1\n", "source.max_track: unknown key: give max_track_hours, in hours"),
        ("[loudness]\ntarget_db = -23\n", "loudness.target_db: unknown key: give target_lufs, in LUFS"),
        ("[loudness]\nceiling = -1\n", "loudness.ceiling: unknown key: give ceiling_dbtp, in dBTP"),
        (LEVEL + "tau_ms = 400\n", "chain.level.tau_ms: unknown key: give tau_s, in seconds"),
        (LEVEL + "stps = 4\n", "chain.level.stps: unknown key: did you mean steps?"),
        (
            '[[chain]]\nstage = "highpass"\ncutoff_khz = 1\n',
            "chain.highpass.cutoff_khz: unknown key: give cutoff_hz, in hertz",
        ),
        ('[[output]]\ncodec = "opus"\n', "output.flac.codec: unknown key: did you mean encoding?"),
        (
            '[[output]]\nencoding = "opus"\nbitrate_bps = 9\n',
            "output.opus.bitrate_bps: unknown key: give bitrate_kbps, in kbit/s",
        ),
    ],
    ids=lambda text: text.strip().splitlines()[-1],
)
def test_an_unknown_key_is_told_with_the_right_one(write: Write, text: str, said: str) -> None:
    """Slips, other people's names and wrong units get a remedy, and the message names the file."""
    path = write(text)
    assert refused(path).startswith(f"{path}: {said}")
    assert "; known here: " in refused(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 1\n", "name: got 1, expected a text in quotes"),
        ("source = 1\n", "source: expected a table headed [source], got 1"),
        ("[chain]\nk = 1\n", "chain: expected tables headed [[chain]], with double brackets"),
        ("chain = [1]\n", "chain: expected tables headed [[chain]], with double brackets"),
        ('[output]\nencoding = "flac"\n', "output: expected tables headed [[output]], with double brackets"),
        ('[source]\nsr = "8000"\n', "source.sr: got '8000', expected a whole number"),
        ("[source]\nsr = 8000.0\n", "source.sr: got 8000.0, expected a whole number"),
        ("[source]\nsr = true\n", "source.sr: got True, expected a whole number"),
        ("[source]\nsegment_s = true\n", "source.segment_s: got True, expected a finite number"),
        ("[source]\nsegment_s = inf\n", "source.segment_s: got inf, expected a finite number"),
        ("[source]\nsegment_s = [1]\n", "source.segment_s: got [1], expected a finite number"),
        (LEVEL + "gate_db = nan\n", "chain.level.gate_db: got nan, expected a finite number"),
        (LEVEL + f"steps = {10**30}\n", f"chain.level.steps: got {10**30}, expected a whole number"),
        (LEVEL + f"gate_db = {10**400}\n", "chain.level.gate_db: got 1000"),
        ("[[output]]\ndither = 1\n", "output.flac.dither: got 1, expected true or false"),
        ('[[chain]]\nstage = "timbre"\nprofile = 3\n', "chain.timbre.profile: got 3, expected "),
        (
            '[[chain]]\nstage = "timbre"\nprofile = [[1, 2], [3, "4"]]\n',
            "chain.timbre.profile[1][1]: got '4', expected a finite number",
        ),
        ("[[chain]]\nk = 1\n", 'chain.0: say which stage, e.g. stage = "level"; got None'),
        ('[[chain]]\nstage = "levle"\n', "chain.0.stage: no stage 'levle'; there are "),
        ("[loudness]\n", "loudness: target_lufs is missing"),
    ],
    ids=lambda text: text.strip().splitlines()[-1][:40],
)
def test_a_wrong_type_is_told_with_the_right_one(write: Write, text: str, said: str) -> None:
    """Key, value and what was expected; never a traceback, and short even where the value is long."""
    path = write(text)
    assert refused(path).startswith(f"{path}: {said}")
    assert len(refused(path).removeprefix(path)) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEVEL + "k = -1.5\n", "chain.level.k: got -1.5; "),
        ('[source]\nsr = 8000\n[[chain]]\nstage = "ramp"\nk = -9000.0\n', "chain.ramp.k: got -9000; "),
        (LEVEL + "mix = 2\n", "chain.level.mix: got 2; give 0 to 1"),
        ("[source]\nsr = 10\n", "source.sr: got 10; give 1000 to 768000 Hz"),
        ("[source]\nsegment_s = 5\noverlap_s = 5\n", "source.overlap_s: got 5; give less than segment_s, which is 5"),
        (
            "[source]\nmin_duration_s = 3\nmax_duration_s = 2\n",
            "source.max_duration_s: got 2; give at least min_duration_s, which is 3",
        ),
        ('[[output]]\nencoding = "aac"\n', "output.aac.encoding: got 'aac'; give one of flac, pcm, opus, vorbis, mp3"),
        ('[[output]]\nencoding = "opus"\n', "output.opus.bitrate_kbps: opus needs one, e.g. 24"),
        (
            '[source]\nsr = 44100\n[[output]]\nencoding = "opus"\nbitrate_kbps = 24\n',
            "output.opus: opus has no 44100 Hz; set source.sr to one of 8000, 12000, 16000, 24000, 48000",
        ),
        ("[[output]]\n[[output]]\nbits = 24\n", "output: two are called 'flac'; give each a name of its own"),
        (
            '[[output]]\nname = "My-Flac"\n',
            "output.My-Flac.name: got 'My-Flac'; start with a letter, then a-z, 0-9 and _",
        ),
        (
            '[source]\nsr = 8000\n[[chain]]\nstage = "highpass"\ncutoff_hz = 4000\n',
            "chain.highpass.cutoff_hz: 4000 Hz is not under half of 8000 Hz; lower it",
        ),
    ],
    ids=lambda text: text.strip().splitlines()[-1][:40],
)
def test_a_value_out_of_bounds_is_refused_at_once(write: Write, text: str, said: str) -> None:
    """Bounds of single values, of values together, and of stages at the job's rate."""
    path = write(text)
    assert refused(path).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = \n", 1), ("[source]\nsr = 8000\nsr = 16000\n", 3), ('name = "x\n', 1), ("[source]\n\n[source", 3)],
    ids=["no value", "twice", "open text", "open table"],
)
def test_what_is_no_toml_is_told_with_its_line(write: Write, text: str, line: int) -> None:
    """The message begins as editors want it: file, colon, line."""
    path = write(text)
    assert refused(path).startswith(f"{path}:{line}: not TOML: ")


def test_a_job_that_is_not_there_lists_the_ready_ones(tmp_path: Path) -> None:
    """The nearest name first, then all of them."""
    said = refused("asrr")
    assert "did you mean asr?" in said
    assert all(name in said for name in ready_jobs())
    assert "no file of that name" in refused(str(tmp_path / "none.toml"))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Folders, bytes that are no text and impossible names are no job files."""
    (tmp_path / "x.toml").write_bytes(b"name = '\xff'")
    for path in (str(tmp_path), str(tmp_path / "x.toml"), "a\0b"):
        assert "cannot be read as a job file" in refused(path)


# --- --set -----------------------------------------------------------------------------------------


def test_set_reaches_every_section(write: Write) -> None:
    """By section, by a stage's or an output's name, by number; later ones win."""
    job = load_job(
        write(FULL),
        [
            "name=other",
            "source.sr=8000",
            "chain.level.steps=7",
            "chain.0.gain_db=1",
            "chain.2.gain_db=-1.5",
            "loudness.target_lufs=-30",
            "loudness.target_lufs=-18",
            "output.low.bitrate_kbps=12",
            "output.flac.dither=false",
        ],
    )
    assert (job.name, job.source.sr) == ("other", 8000)
    assert [getattr(stage, "gain_db", None) for stage in job.chain] == [1.0, None, -1.5]
    assert job.chain[1] == Level(k=-0.2, steps=7)
    assert job.loudness == LoudnessSpec(target_lufs=-18.0)
    assert job.outputs == (OutputSpec(bits=24, dither=False), OutputSpec("low", "opus", bitrate_kbps=12.0))


def test_set_gives_what_a_file_would(write: Write) -> None:
    """A value set and a value written are one job."""
    path = write(FULL)
    changed = load_job(path, ["chain.level.steps=9"]).digest
    assert changed == load_job(write(FULL.replace("steps = 5", "steps = 9"))).digest


def test_set_makes_sections_that_are_not_there(write: Write) -> None:
    """A section of its own, and the output that every job has."""
    job = load_job(write(""), ["loudness.target_lufs=-23", "output.flac.level=8"])
    assert (job.loudness, job.outputs) == (LoudnessSpec(-23.0), (OutputSpec(level=8),))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("source.sr", "--set source.sr: expected KEY=VALUE, e.g. source.sr=8000"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("source..sr=3", "--set source..sr=3: expected KEY=VALUE"),
        ("chain.levle.k=3", "--set chain.levle.k=3: chain.levle is not there; there are gain, level, gain"),
        ("chain.3.k=3", "--set chain.3.k=3: chain.3 is not there; there are gain, level, gain"),
        ("chain.gain.gain_db=3", "--set chain.gain.gain_db=3: chain.gain names more than one: give its number, from 0"),
        ("chain.level=3", "--set chain.level=3: chain has no key level: name one of its tables too, e.g. chain.0.KEY"),
        ("source.sr.x=3", "--set source.sr.x=3: source.sr has no key x: it is a value"),
        ("source.sr.x.y=3", "--set source.sr.x.y=3: source.sr is a value, and has no keys"),
    ],
)
def test_a_set_that_leads_nowhere_is_refused(write: Write, item: str, said: str) -> None:
    """The message shows what was given, and what is there."""
    assert refused(write(FULL), item).startswith(said)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("source.sr=fast", "source.sr: got 'fast', expected a whole number"),
        ("source.sr=", "source.sr: got '', expected a whole number"),
        ("source.srr=8000", "source.srr: unknown key: did you mean sr?"),
        ("chain.level.tau_ms=3", "chain.level.tau_ms: unknown key: give tau_s, in seconds"),
        ("chain.level.k=-2", "chain.level.k: got -2; "),
        ("chain=5", "chain: expected tables headed [[chain]]"),
        ("output.low.bitrate_kbps=1\nx=2", "output.low.bitrate_kbps: got '1\\nx=2', expected a finite number"),
    ],
)
def test_a_wrong_value_set_names_the_set(write: Write, item: str, said: str) -> None:
    """Validation is that of files, and the place shows what was set."""
    path = write(FULL)
    assert refused(path, item).startswith(f"{path} --set {item}: {said}")


def test_a_set_after_a_broken_set_is_refused(write: Write) -> None:
    """What an earlier --set put there may be anything."""
    assert "is not there" in refused(write(FULL), "chain=[1]", "chain.level.k=3")
    assert "is a value" in refused(write(FULL), "chain=[1]", "chain.0.k=3")


keys = st.lists(
    st.sampled_from(["source", "chain", "output", "loudness", "level", "0", "sr", "k", "x"]), min_size=1, max_size=4
)
values = st.sampled_from(["1", "-2.5", "x", "", "[1]", "{a=1}", "[{}]", "true", "nan", '"q"', "1979-05-27", "[[1],2]"])


@given(st.lists(st.builds(lambda key, value: f"{'.'.join(key)}={value}", keys, values), max_size=4))
def test_no_set_gives_a_traceback(sets: list[str]) -> None:
    """Whatever is set, the outcome is a job or a JobError."""
    try:
        job = load_job("asr", sets)
    except JobError as error:
        assert str(error)  # noqa: PT017  # either outcome is right
    else:
        assert isinstance(job, Job)


# --- plug-ins --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Foreign:
    """A stage of someone else, with kinds of parameters that ours do not have."""

    name: ClassVar[str] = "foreign"

    shape: Literal["sine", "saw"] = "sine"
    weights: list[float] | None = None
    amount: float | int = 0.5

    def __post_init__(self) -> None:
        if self.shape not in {"sine", "saw"}:
            raise ValueError(f"no shape {self.shape}")

    def initial_state(self, sig: object) -> None:
        """Nothing."""


def test_stages_of_others_are_checked_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that we know are held to, others are left to their constructor, whose ValueError is told."""
    monkeypatch.setattr(registry, "stage_class", lambda name: Foreign)
    text = '[[chain]]\nstage = "foreign"\n'
    assert load_job(write(text + 'shape = "saw"\nweights = [1, 2.5]')).chain == (Foreign("saw", [1.0, 2.5]),)
    assert "chain.foreign: no shape cube" in refused(write(text + 'shape = "cube"'))
    assert "chain.foreign.weights[1]: got 'x', expected a finite number" in refused(write(text + 'weights = [1, "x"]'))
    assert "chain.foreign.amount: got 'x', expected a finite number or a whole" in refused(write(text + 'amount = "x"'))


def test_files_that_a_job_names_lie_beside_it(tmp_path, monkeypatch):
    """Wherever the command is given; what `--set` names lies where the command is given."""
    (tmp_path / "flat.json").write_text('{"freqs_hz": [0, 8000], "power_db": [0, 1]}')
    job = '[[chain]]\nstage = "timbre"\nmode = "profile"\nprofile = "flat.json"\n'
    (tmp_path / "my.toml").write_text(
        f'[[rule]]\nname = "r"\nwhen = "snr_db < 3"\n{job.replace("chain", "rule.chain")}{job}'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = load_job("../my.toml")
    assert [stage.profile for chain in loaded.chains().values() for stage in chain] == [[[0, 0], [8000, 1]]] * 2
    (tmp_path / "elsewhere" / "other.json").write_text('{"freqs_hz": [0, 8000], "power_db": [0, 2]}')
    changed = load_job("../my.toml", ["chain.timbre.profile=other.json"])
    assert changed.chain[0].profile == [[0, 0], [8000, 2]]


def test_rules_are_read(tmp_path):
    """Conditions, chains of their own, guard and speech detection; `--set` reaches into a rule by its name."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    job = load_job(str(path), ["rule.noisy.chain.level.steps=3"])
    assert [(rule.name, rule.when, [stage.name for stage in rule.chain]) for rule in job.rules] == [
        ("noisy", "snr_db < 10", ["level", "gain"]),
        ("clean", "snr_db >= 30 and lang in ['en']", []),
    ]
    assert job.rules[0].chain[0].steps == 3
    assert job.guard.max_lsd_db == 6.0
    assert job.vad.mode == "trim"
    assert Job.from_dict(job.to_dict()) == job
    assert job.rule_for({"snr_db": 5.0}) == "noisy"
    assert job.rule_for({"snr_db": 40.0, "lang": "en"}) == "clean"
    assert job.rule_for({"snr_db": float("nan"), "lang": "en"}) == "default"


RULES = """
[vad]
mode = "trim"

[[rule]]
name = "noisy"
when = "snr_db < 10"
[[rule.chain]]
stage = "level"
[[rule.chain]]
stage = "gain"
gain_db = 3

[[rule]]
name = "clean"
when = "snr_db >= 30 and lang in ['en']"

[guard]
max_lsd_db = 6
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nname = "a"\n', "rule.a: when is missing"),
        ('[[rule]]\nname = "a"\nwhen = "x ="\n', "rule.a.when: 'x =' is no condition"),
        ('[[rule]]\nname = "default"\nwhen = "x"\n', "rule.default.name: got 'default'"),
        (
            '[[rule]]\nname = "a"\nwhen = "x"\n[[rule.chain]]\nstage = "levle"\n',
            "rule.a.chain.0.stage: no stage 'levle'",
        ),
        ('[[rule]]\nname = "a"\nwhen = "x"\n[[rule.chain]]\nstage = "level"\nk = -2\n', "rule.a.chain.level.k: got -2"),
        ('[[rule]]\nname = "a"\nwhen = "x"\nif = 1\n', "rule.a.if: unknown key"),
        ('[[rule]]\nname = "a"\nwhen = "x"\n[[rule]]\nname = "a"\nwhen = "y"\n', "rule: two are called 'a'"),
        ("[guard]\nmax_lsd = 3\n", "guard.max_lsd: unknown key: give max_lsd_db, in dB"),
        ('[vad]\nmode = "cut"\n', "vad.mode: got 'cut'; give trim or segment"),
        ("[source]\nsegment_s = 3\n[vad]\n", "vad: source.segment_s cuts the tracks already"),
        (
            "[source]\nreference_channel = 1\nreference_field = 'x'\n",
            "source.reference_field: the reference is a channel",
        ),
    ],
)
def test_wrong_rules_are_refused(write, text, said):
    """With the place and the remedy, before anything is read."""
    assert f": {said}" in refused(write(text))
