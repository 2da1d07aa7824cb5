"""`tune`: what is searched, what it is judged by, and the job that comes of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.metrics import Meter
from corpusdiff.tuning.asked import make_space
from corpusdiff.tuning.jobtext import write_job
from corpusdiff.tuning.objectives import Heard, LevelSpread, NoScore, ProfileDistance, make_objective
from corpusdiff.tuning.recognition import Wer
from corpusdiff.tuning.sample import take_sample
from corpusdiff.tuning.search import Trial, best_of
from corpusdiff.tuning.tune import TuneRequest, _notes, tune

SR = 16000

JOB = """# a job of ours
[source]
sr = 16000
channels = 1

[[rule]]
name = "noisy"
when = "snr_db < -9"

  [[rule.chain]]
  stage = "level"  # of the rule

[[chain]]
stage = "gain"
gain_db = 0.0  # as it comes

[[chain]]
stage = "level"
reference_dbfs = -26.0
k = -0.01  # weak
steps = 1
max_boost_db = 40.0
max_cut_db = 40.0

[[chain]]
stage = "timbre"
steps = 0
"""


def babble(seconds: float, seed: int) -> np.ndarray:
    """(n,) noise in syllables, with pauses."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * SR)) / SR
    return 0.1 * rng.standard_normal(len(time_s)) * np.maximum(np.sin(2 * np.pi * 3 * time_s), 0.003)


@pytest.fixture
def job_file(tmp_path) -> str:
    """The job above."""
    (tmp_path / "ours.toml").write_text(JOB)
    return str(tmp_path / "ours.toml")


@pytest.fixture
def wandering(tmp_path) -> str:
    """Nine tracks whose level wanders by 30 dB, and one that is no sound."""
    folder = tmp_path / "wandering"
    folder.mkdir()
    for i in range(9):
        x = babble(4.0, i)
        sf.write(folder / f"{i}.wav", x * 10 ** (np.linspace(-30 + i, 0, len(x)) / 20), SR)
    (folder / "bad.wav").write_text("no sound")
    return str(folder)


def silent(_line: str) -> None:
    """Nobody listens."""


def test_a_named_stage_is_searched_for_k_steps_reference_and_window(job_file):
    """With the ranges of the law; the rule's stage by its rule, or by its number."""
    job = load_job(job_file)
    keys = [d.key for d in make_space(job, ["level", "timbre"], [], per_band=False).dimensions]
    assert keys == [
        "level.k", "level.steps", "level.tau_s", "level.reference_dbfs", "timbre.k", "timbre.steps", "timbre.n_fft",
    ]  # fmt: skip
    ruled = make_space(job, ["noisy.level"], [], per_band=False).dimensions
    assert {d.place for d in ruled} == {("rule", 0, "chain", 0)}
    assert make_space(job, ["1"], [], per_band=False).dimensions[0].place == ("chain", 1)
    away = make_space(load_job(job_file, ["chain.level.k=0.1"]), ["level"], [], per_band=False).dimensions[0]
    assert (away.low, away.high) == (0.0, 0.5)


def test_a_parameter_may_be_given_its_own_range_or_values(job_file):
    """A later one replaces what the stage has by itself."""
    job = load_job(job_file)
    params = ["level.k:-0.3:-0.1", "level.tau_s:0.2:2:log", "level.steps:1:4", "timbre.mode=flat,frame"]
    k, tau, steps, mode = make_space(job, [], params, per_band=False).dimensions
    assert (k.low, k.high, k.log, k.whole) == (-0.3, -0.1, False, False)
    assert (tau.log, steps.whole, mode.choices) == (True, True, ("flat", "frame"))
    both = make_space(job, ["level"], ["level.k:-0.3:-0.1"], per_band=False).dimensions
    assert [d.low for d in both if d.key == "level.k"] == [-0.3]


@pytest.mark.parametrize(
    ("stages", "params", "per_band", "what"),
    [
        ([], [], False, "nothing to search"),
        (["heat"], [], False, "heat: no such stage; there are gain, level, timbre, noisy.level"),
        (["gain"], [], True, "--per-band: name a timbre stage"),
        ([], ["level"], False, "expected STAGE.PARAMETER:LOW:HIGH"),
        ([], ["level.k:0:-0.5"], False, "give LOW under HIGH"),
        ([], ["level.tau_s:0:1:log"], False, "over 0 with :log"),
        ([], ["level.k:a:b"], False, "expected STAGE.PARAMETER:LOW:HIGH"),
        ([], ["level.kk:0:1"], False, "level has no kk; it has k, steps"),
    ],
)
def test_what_cannot_be_searched_is_refused(job_file, stages, params, per_band, what):
    """With what there is."""
    with pytest.raises(UsageError) as caught:
        make_space(load_job(job_file), stages, params, per_band=per_band)
    assert what in str(caught.value)


def test_values_make_a_job(job_file):
    """Frames keep their overlap, and bands become the reference spectrum, added to the one that was there."""
    job = load_job(job_file)
    space = make_space(job, [], ["timbre.n_fft=256,1024", "level.k:-1:0"], per_band=False)
    made = space.job_with({"timbre.n_fft": 1024, "level.k": -0.123456})
    assert (made.chain[2].n_fft, made.chain[2].hop_length, made.chain[1].k) == (1024, 256, -0.1235)
    assert made.rules == job.rules

    banded = load_job(job_file, ["chain.timbre.mode=profile", "chain.timbre.profile=[[100.0, 0.0], [10000.0, -9.9]]"])
    space = make_space(banded, ["timbre"], [], per_band=True)
    values = {**space.defaults(), "timbre.1000hz": 3.0}
    pairs = dict(map(tuple, space.job_with(values).chain[2].profile))
    assert [*pairs] == [125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0]
    assert pairs[1000.0] == pytest.approx(3.0 - 0.9, abs=1e-3)
    assert pairs[8000.0] == pytest.approx(-7.9 * 9.9 / 9.9, abs=1e-2)


def test_the_written_job_loads_as_the_tuned_one_with_its_comments(tmp_path, job_file):
    """Also with changes from the command line, a profile that lies elsewhere, and a job without a name."""
    (tmp_path / "p.json").write_text('{"freqs_hz": [0, 8000], "power_db": [0, -20]}')
    Path(job_file).write_text(JOB + 'mode = "profile"\nprofile = "p.json"\n')
    sets = ["source.channels=2"]
    space = make_space(load_job(job_file, sets), ["level", "noisy.level"], [], per_band=False)
    values = {**space.defaults(), "level.k": -0.25, "noisy.level.steps": 3}
    target = tmp_path / "sub" / "tuned.toml"
    target.parent.mkdir()
    write_job(str(target), job_file, sets, space.changes(values), space.job_with(values), ["by hand"])
    text = target.read_text()
    assert text.startswith("# by hand\n# a job of ours\n")
    assert "k = -0.25  # weak" in text
    assert 'profile = "../p.json"' in text
    assert load_job(str(target)) == space.job_with(values)


@pytest.mark.parametrize("name", sorted(ready_jobs()))
def test_every_ready_job_can_be_written(tmp_path, name):
    """With a number of the first stage changed that has one to search, in its own chain or in a rule's."""
    job = load_job(name)
    found = [(rule, stage) for rule, chain in job.chains().items() for stage in chain if hasattr(stage, "mix")]
    changes, tuned = {}, job
    for rule, stage in found[:1]:
        address = stage.name if rule == "default" else f"{rule}.{stage.name}"
        space = make_space(job, [], [f"{address}.mix:0:1"], per_band=False)
        changes, tuned = space.changes({f"{address}.mix": 0.7}), space.job_with({f"{address}.mix": 0.7})
        assert tuned != job
    write_job(str(tmp_path / "t.toml"), name, (), changes, tuned, [])
    assert load_job(str(tmp_path / "t.toml")) == tuned


def heard(x: np.ndarray, clean: np.ndarray | None = None) -> Heard:
    """As a worker hands it over."""
    meter = Meter(SR, 1)
    meter.update(x[None].astype(np.float32))
    metrics = {f"out_{name}": value for name, value in meter.finish().metrics.items()}
    return Heard(x[None].astype(np.float32), SR, metrics, None if clean is None else clean[None].astype(np.float32))


def test_level_spread_is_the_standard_deviation_of_levels():
    """Two tracks at levels 20 dB apart, steady each, spread by 10 dB; one that steps by 20 dB does as well."""
    noise = np.random.default_rng(0).standard_normal(10 * SR) / 20
    objective = LevelSpread()
    steady = [objective.score(heard(noise)), objective.score(heard(0.1 * noise))]
    assert objective.total(steady, "") == pytest.approx(10, abs=0.05)
    steps = np.concatenate([noise[: 4 * SR], 0.1 * noise[: 4 * SR]])
    assert objective.total([objective.score(heard(steps))], "") == pytest.approx(10, abs=0.05)
    with pytest.raises(NoScore, match="silent"):
        objective.score(heard(np.zeros(SR)))


def test_the_distance_to_a_profile_is_nothing_to_itself():
    """Whatever the level; a tilt of 6 dB per octave counts, and a file is where it comes from."""
    noise = np.random.default_rng(0).standard_normal(10 * SR) / 20
    flat = ProfileDistance((0.0, 8000.0), (-30.0, -30.0))
    assert flat.score(heard(noise)) < 0.5
    assert flat.score(heard(np.cumsum(noise) / 50)) == pytest.approx(6.02 * 6.1 / np.sqrt(12), rel=0.1)


def test_snr_pesq_and_stoi_know_clean_from_noisy():
    """Each is higher for the cleaner one; without a reference, or in silence, there is no score."""
    rng = np.random.default_rng(0)
    clean = babble(4.0, 1)
    noisy = clean + 0.02 * rng.standard_normal(len(clean))
    for name in ("snr", "pesq", "stoi"):
        if name == "stoi":
            pytest.importorskip("pystoi")
        elif name == "pesq":
            pytest.importorskip("pesq")
        objective = make_objective(name, None, shell=False)
        assert objective.maximise
        assert objective.score(heard(clean, clean)) > objective.score(heard(noisy, clean))
        with pytest.raises(NoScore):
            objective.score(heard(np.zeros(4 * SR), clean))
        if name != "snr":
            with pytest.raises(NoScore, match="no reference"):
                objective.score(heard(clean))


def test_a_missing_package_is_named(monkeypatch):
    """And unknown objectives are refused with those that there are."""
    monkeypatch.setattr("corpusdiff.tuning.objectives.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="needs the package pystoi: pip install pystoi"):
        make_objective("stoi", None, shell=False)
    with pytest.raises(UsageError, match="expected one of level-spread, snr, profile:FILE"):
        make_objective("profile", None, shell=False)
    with pytest.raises(UsageError, match="goes with --objective wer"):
        make_objective("snr", "x {dir}", shell=False)
    with pytest.raises(UsageError, match="give --command"):
        make_objective("wer", "recognise", shell=False)


def test_a_command_is_no_shell_unless_it_is_to_be(tmp_path):
    """The last line counts; a failure or nonsense is no score."""
    python = sys.executable
    assert Wer(f"{python} -c 'print(1); print(0.25)' {{dir}}").total([], str(tmp_path)) == 0.25
    assert Wer("echo '{\"wer\": 0.5}' {dir}", shell=True)  # would print the folder too
    assert Wer(f"{python} -c 'import json; print(json.dumps(dict(wer=0.5)))'").total([], "") == 0.5
    assert Wer("true {dir}; echo 3", shell=True).total([], "a b; c") == 3
    with pytest.raises(NoScore, match=r"expected a number, or \{\"wer\": number\}"):
        Wer("echo 1; echo {dir}").total([], "x")
    with pytest.raises(NoScore, match="ended with 3: worse"):
        Wer("echo worse >&2; exit 3", shell=True).total([], "x")
    with pytest.raises(UsageError, match="no-such-program"):
        Wer("no-such-program {dir}").total([], "x")


def request(source: str, job: str, output: Path, **options) -> TuneRequest:
    """A short serial search of the level stage."""
    usual = {"objective": "level-spread", "params": ["level.k:-0.9:0"], "trials": 6, "cluster": "none"}
    return TuneRequest(source, str(output), job=job, **{**usual, **options})


def test_a_search_finds_what_draws_the_level_in(tmp_path, job_file, wandering):
    """The job as it was is trial 0, a bad file is left out, the tracks of the check took no part in the search."""
    lines: list[str] = []
    found = tune(request(wandering, job_file, tmp_path / "t.toml", trials=10), lines.append)
    assert any(line.startswith("left out: bad.wav: ") for line in lines)
    assert found.trials[0].values == {"level.k": -0.01}
    assert found.before > 6
    assert found.after < 0.6 * found.before
    assert found.check[1] < 0.6 * found.check[0]
    assert not set(found.tracks[0]) & set(found.tracks[1])
    assert len(found.tracks[0]) + len(found.tracks[1]) == 9
    assert load_job(str(tmp_path / "t.toml")) == found.job
    assert found.job.chain[1].k < -0.5
    again = tune(request(wandering, job_file, tmp_path / "u.toml", trials=10), silent)
    assert again == found
    assert (tmp_path / "u.toml").read_text() == (tmp_path / "t.toml").read_text()


def test_workers_change_nothing(tmp_path, job_file, wandering):
    """The same seed gives the same trials and the same file, serially and on a Dask cluster."""
    options = {"stages": ["level"], "params": [], "trials": 5, "sample": 4}
    one = tune(request(wandering, job_file, tmp_path / "1.toml", **options), silent)
    workers = ClusterOptions(workers=2)
    asked = request(wandering, job_file, tmp_path / "2.toml", cluster="local", cluster_options=workers, **options)
    two = tune(asked, silent)
    assert one == two
    assert (tmp_path / "1.toml").read_text() == (tmp_path / "2.toml").read_text()


def test_a_trial_that_fails_is_no_zero(tmp_path, job_file, wandering):
    """A frame that its hop does not divide: the trial has no score, and is never the best."""
    options = {"params": ["timbre.hop_length=100,128", "level.k:-0.9:0"], "trials": 8}
    found = tune(request(wandering, job_file, tmp_path / "t.toml", **options), silent)
    failed = [trial for trial in found.trials if trial.score is None]
    assert failed
    assert all(trial.values["timbre.hop_length"] == 100 for trial in failed)
    assert all("hop_length: got 100" in trial.problem for trial in failed)
    assert found.best.score is not None
    assert found.notes[0].startswith(f"{len(failed)} trials failed")
    trials = [Trial(0, {}, 0.5), Trial(1, {}, None, "no"), Trial(2, {}, 0.5), Trial(3, {}, 0.7)]
    assert [best_of(trials, maximise=maximise).number for maximise in (False, True)] == [0, 3]


def test_a_gain_that_does_not_hold_on_other_tracks_is_a_warning(tmp_path, job_file, wandering):
    """So is a search that changed nothing, and a sample too small to be checked."""
    found = tune(request(wandering, job_file, tmp_path / "t.toml", trials=4), silent)
    assert found.notes == ()
    worse = replace(found, check=(found.check[0], found.check[0]))
    assert "WARNING: on the tracks that were kept aside it is no better" in _notes(worse)[0]
    idle = tune(request(wandering, job_file, tmp_path / "i.toml", params=["noisy.level.k:-0.9:0"], trials=2), silent)
    assert "does any track of the sample take the chain" in idle.notes[0]
    assert idle.job == load_job(job_file)
    assert load_job(str(tmp_path / "i.toml")) == idle.job
    few = tune(request(wandering, job_file, tmp_path / "f.toml", sample=3, trials=4), silent)
    assert few.tracks[1] == ()
    assert "too small to be checked" in few.notes[0]


def test_a_command_hears_the_files_of_each_trial(tmp_path, job_file):
    """Under their ids, with a manifest that has the source's fields; what it prints is the objective."""
    rows = []
    for i in range(4):
        sf.write(tmp_path / f"{i}.flac", babble(1.0, i), SR)
        rows.append({"audio_filepath": f"{i}.flac", "text": f"words {i}"})
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = tmp_path / "judge.py"
    script.write_text(
        "import json, sys, pathlib\nimport numpy as np, soundfile as sf\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "rows = [json.loads(line) for line in (folder / 'manifest.jsonl').open()]\n"
        "assert len(rows) == len([*folder.glob('**/*.wav')]) and all(r['text'].startswith('words') for r in rows)\n"
        "x = np.concatenate([sf.read(folder / r['audio_filepath'])[0] for r in rows])\n"
        "print('heard', len(rows)); print(json.dumps({'wer': abs(20 * np.log10(x.std()) + 40)}))\n"
    )
    command = f"{sys.executable} {script} {{dir}}"
    options = {"objective": "wer", "command": command, "params": ["gain.gain_db:-40:40"], "trials": 6}
    found = tune(request(str(tmp_path / "all.jsonl"), job_file, tmp_path / "t.toml", **options), silent)
    assert found.after < found.before
    gain_db = [trial.values["gain.gain_db"] for trial in found.trials]
    level_dbfs = -40 + found.before  # the source is louder than the -40 that the judge wants
    for trial, gain in zip(found.trials, gain_db, strict=True):
        if gain < 5:  # nothing clips
            assert trial.score == pytest.approx(abs(level_dbfs + gain + 40), abs=0.2)


def test_clean_references_come_from_a_folder_or_a_field(tmp_path, job_file):
    """The same scores either way; a track without one is left out; none at all is refused."""
    pytest.importorskip("pystoi")
    rng = np.random.default_rng(0)
    (tmp_path / "noisy").mkdir()
    (tmp_path / "clean").mkdir()
    rows = []
    for i in range(3):
        x = babble(2.0, i)
        sf.write(tmp_path / "noisy" / f"{i}.wav", x + 0.01 * rng.standard_normal(len(x)), SR)
        if i:
            sf.write(tmp_path / "clean" / f"{i}.wav", x, SR)
        rows.append({"audio_filepath": f"noisy/{i}.wav", **({"clean": f"clean/{i}.wav"} if i else {})})
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"objective": "stoi", "params": ["timbre.steps:0:9"], "trials": 1}
    lines: list[str] = []
    by_folder = request(
        str(tmp_path / "noisy"), job_file, tmp_path / "1.toml", reference=str(tmp_path / "clean"), **options
    )
    by_field = request(str(tmp_path / "all.jsonl"), job_file, tmp_path / "2.toml", reference="clean", **options)
    first, second = tune(by_folder, lines.append), tune(by_field, lines.append)
    assert [trial.score for trial in first.trials] == [trial.score for trial in second.trials]
    assert 0.3 < first.before < 1
    assert [line for line in lines if line.startswith("left out")][1] == "left out: noisy/0.wav: it has no reference"
    with pytest.raises(UsageError, match="no such folder, and no such field of the manifest; its fields are clean"):
        tune(replace(by_field, reference="clan"), silent)
    with pytest.raises(UsageError, match="give --reference FOLDER"):
        tune(replace(by_field, reference=None), silent)
    with pytest.raises(UsageError, match="change the length"):
        tune(replace(by_field, sets=["source.speed=0.9"]), silent)


def test_the_sample_is_that_of_the_seed(wandering, job_file):
    """And long tracks are cut."""
    job = load_job(job_file)
    ids = [[t.id for t in take_sample(wandering, job, 6, seed, 1.5).searched] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 4
    assert {t.duration_s for t in take_sample(wandering, job, 6, 0, 1.5).checked} == {1.5}


def test_what_has_no_score_at_all_ends_it(tmp_path, job_file):
    """Silence has no level."""
    sf.write(tmp_path / "s.wav", np.zeros(SR), SR)
    with pytest.raises(CorpusdiffError, match=r"no track of the sample has a score, e\.g\. s\.wav: it is silent"):
        tune(request(str(tmp_path / "s.wav"), job_file, tmp_path / "t.toml"), silent)


def test_the_command_line_plots_and_prints(tmp_path, job_file, wandering):
    """One page, and JSON with every trial."""
    arguments = ["tune", wandering, "--job", job_file, "--stage", "level", "--objective", "level-spread"]
    arguments += ["--trials", "3", "--sample", "5", "--cluster", "none", "-o", str(tmp_path / "t.toml")]
    result = CliRunner().invoke(main, [*arguments, "--plot", str(tmp_path / "t.html"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert found["after"] <= found["before"]
    page = (tmp_path / "t.html").read_text()
    assert "level.k" in page
    assert "(1 + k)^steps" in page
    assert "trial 3 of 3: " in result.stderr
    shown = CliRunner().invoke(main, arguments)
    assert "  level.k = " in shown.stdout


def test_optuna_is_named_where_it_is_missing(tmp_path, job_file, wandering, monkeypatch):
    """Before anything is written."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'corpusdiff\[tune\]'"):
        tune(request(wandering, job_file, tmp_path / "t.toml"), silent)
    assert not (tmp_path / "t.toml").exists()


def test_a_file_that_could_not_be_written_ends_it_at_once(tmp_path, job_file, wandering):
    """Not after hours of search."""
    with pytest.raises(UsageError, match="there is no folder"):
        tune(request(wandering, job_file, tmp_path / "no" / "t.toml"), silent)
    arguments = ["tune", wandering, "--objective", "snr", "-o", str(tmp_path / "t.toml")]
    result = CliRunner().invoke(main, [*arguments, "--plot", str(tmp_path / "no" / "t.html")])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
