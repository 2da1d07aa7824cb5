"""What must hold of the speed, beside peers in the same session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.accounts import Cost, interleaved, medians
from bench.checks import files
from bench.loads import make_load
from bench.measure import Result, Results, measure
from bench.ratios import BOUNDS, Bound
from bench.sides import SIDES, Side
from bench.table import PAGE, page, reading

MB = 10**6

#: Of the short form: so much of the full loads.
SHORT = 0.1


def _result(name: str, load: str, cpu_s: float, start_s: float = 0.0, peak: int = 100 * MB) -> Result:
    side = Side(name, load, lambda source, out: ["true"])
    return Result(side, 110.0, Cost(cpu_s, 2 * cpu_s, peak), Cost(start_s, start_s, peak), 10.0)


def _results(scale: float, *found: Result) -> Results:
    return Results(scale, 1, sides={result.side.key: result for result in found})


def _bound(name: str) -> Bound:
    return next(bound for bound in BOUNDS if bound.name.startswith(name))


def test_small_loads_leave_starting_up_out_of_a_ratio() -> None:
    """6 s with 5 s of starting over 1 s without is 6 in a full load, and 1 in a small one."""
    ours, floor = _result("corpusdiff, denoised", "A", 6.0, 5.0), _result("floor", "A", 1.0)
    bound = _bound("A, denoised")
    assert bound.figure(_results(1.0, ours, floor)) == pytest.approx(6.0)
    assert bound.figure(_results(0.5, ours, floor)) == pytest.approx(1.0)


def test_an_absent_peer_gives_no_figure() -> None:
    """No side, no ratio."""
    assert _bound("A: sox").figure(_results(1.0, _result("corpusdiff, denoised", "A", 6.0))) is None


def test_peak_is_the_largest_process_of_ours() -> None:
    """A peer's memory is not counted."""
    found = _results(
        1.0,
        _result("corpusdiff, denoised", "A", 1.0, peak=200 * MB),
        _result("corpusdiff, music", "D", 1.0, peak=300 * MB),
        _result("Python script", "A", 1.0, peak=900 * MB),
    )
    assert _bound("peak memory").figure(found) == pytest.approx(300)


def test_the_short_form_asks_for_less_than_what_holds() -> None:
    """1.5 times looser than the limit, or than what was measured where the limit is missed."""
    assert Bound("", lambda _: None, 3.0).short_limit() == pytest.approx(4.5)
    assert Bound("", lambda _: None, 3.0, today=4.0).short_limit() == pytest.approx(6.0)
    assert Bound("", lambda _: None, 3.0, at_least=True).short_limit() == pytest.approx(2.0)
    assert Bound("", lambda _: None, 3.0, today=1.5, at_least=True).short_limit() == pytest.approx(1.0)


def test_a_round_begins_with_another_side_each_time() -> None:
    """All in turn; medians of each."""
    order = []

    def run(name: str) -> Cost:
        order.append(name)
        return Cost(float(len(order)), 0.0, 0)

    costs = interleaved({name: lambda name=name: run(name) for name in "abcd"}, 3, once="d")
    assert order == [*"abcd", *"bca", *"cab"]
    assert medians(costs["a"]).cpu_s == 7.0


def test_outputs_that_fall_short_are_no_work(tmp_path: Path) -> None:
    """A missing file, a shorter one, and a silent one are found; the whole ones pass."""
    import soundfile as sf

    load = make_load("B", tmp_path, 0.001)
    out = tmp_path / "out"
    out.mkdir()
    for path in load.folder.iterdir():
        x, sr = sf.read(path)
        sf.write(out / f"{path.name}.flac", x, sr)
    files(load.folder, out, 8000, 1)
    made = min(out.iterdir())
    whole, sr = sf.read(made)
    for wrong, said in ((whole[:2000], "0.250 s of 0.400 s"), (0.0 * whole, "is silent")):
        sf.write(made, wrong, sr)
        with pytest.raises(AssertionError, match=said):
            files(load.folder, out, 8000, 1)
    made.unlink()
    with pytest.raises(AssertionError, match="39 files of 40"):
        files(load.folder, out, 8000, 1)


def test_a_side_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    """The exit code and its words come out, and no time."""
    load = make_load("B", tmp_path, 0.001)
    side = Side("wrong", "B", lambda source, out: ["sh", "-c", "echo no such filter; exit 3"])
    with pytest.raises(RuntimeError, match="ended with 3: no such filter"):
        side.run(load.folder, tmp_path / "out")


def test_the_page_names_every_side_and_bound() -> None:
    """A side that could not run is there with the reason, and a figure without it is no figure."""
    found = _results(1.0, _result("corpusdiff, denoised", "A", 6.0), _result("floor", "A", 2.0))
    found.absent["A: sox noisered"] = "sox not installed"
    text = page(found)
    assert "| sox noisered |" in text
    assert "not run: sox not installed" in text
    assert "| A, denoised: CPU over the floor's | 3 | at most 2.5 | **no** |" in text
    assert all(bound.name in text for bound in BOUNDS)


def test_the_page_in_the_repository_is_of_these_bounds() -> None:
    """Who changes the bounds makes the page again."""
    text = PAGE.read_text()
    assert [bound.name for bound in BOUNDS if f"| {bound.name} |" not in text] == []


@pytest.fixture(scope="session")
def work() -> Path:
    """Where loads are kept between runs."""
    from bench.__main__ import work_folder

    return work_folder()


@pytest.fixture(scope="session")
def short(work: Path) -> Results:
    """Some sides over small loads."""
    return measure(work, SHORT, 3, short=True)


@pytest.fixture(scope="session")
def full(work: Path) -> Results:
    """All sides; the page is written when they ran."""
    from bench.__main__ import measured

    found = measured(float(os.environ.get("CORPUSDIFF_BENCH_SCALE", "1")), 3)
    PAGE.write_text(page(found, reading()))
    print(PAGE.read_text())
    return found


def _not_yet(bound: Bound) -> pytest.MarkDecorator | tuple[()]:
    return () if bound.today is None else pytest.mark.xfail(reason=f"{bound.today:g} today", strict=True)


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bound", [bound for bound in BOUNDS if bound.short], ids=lambda bound: bound.name)
def test_no_ratio_is_far_off(bound: Bound, short: Results) -> None:
    """The short form: looser than what holds today."""
    figure = bound.figure(short)
    if figure is None:
        pytest.skip(f"not measured: {short.absent}")
    limit = bound.short_limit()
    print(f"{bound.name}: {figure:.3g}, limit {limit:.3g}")
    assert figure >= limit if bound.at_least else figure <= limit, f"{figure:.3g}, limit {limit:.3g}"


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its tars open
@pytest.mark.parametrize("bound", [pytest.param(bound, id=bound.name, marks=_not_yet(bound)) for bound in BOUNDS])
def test_every_ratio_holds(bound: Bound, full: Results) -> None:
    """What must hold, asserted."""
    figure = bound.figure(full)
    if figure is None:
        pytest.skip(f"not measured: {full.absent}")
    if bound.wall and full.busy:
        pytest.skip(f"{figure:.3g} on a busy machine, load average {full.load:.1f}")
    assert bound.holds(figure), f"{figure:.3g}, limit {bound.limit:g}"


def test_times_on_a_busy_machine_are_marked() -> None:
    """A time of wall that misses its limit is no verdict where others were at work; a ratio of CPU is."""
    found = _results(1.0, _result("corpusdiff, denoised", "A", 6.0), _result("floor", "A", 2.0))
    found.figures["first shard, s"] = 7.0
    for load, said in ((0.5, "**no**"), (3.0, "**no**, on a busy machine")):
        found.load = load
        text = page(found)
        assert f"| start of `run` to the first committed shard, s | 7 | at most 5 | {said} |" in text
        assert "| A, denoised: CPU over the floor's | 3 | at most 2.5 | **no** |" in text


def test_every_script_of_a_peer_has_a_side() -> None:
    """No script lies there unused."""
    scripts = {path.stem for path in (Path(__file__).parent / "peers").glob("*.py")} - {"pool"}
    used = {
        Path(word).stem for side in SIDES for word in side.command(Path("a"), Path("b")) if str(word).endswith(".py")
    }
    assert scripts == used
