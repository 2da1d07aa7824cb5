"""What a run says and refuses where its corpus is there already."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from fault_runs import make_recordings
from web_server import WebServer

from corpusdiff.cli import main


def invoke(*arguments):
    """What the command printed; it ends well."""
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three recordings."""
    return make_recordings(tmp_path_factory.mktemp("recordings") / "in", 3)


@pytest.fixture(scope="module")
def out(source):
    """A corpus of the first two."""
    invoke("run", source, source.parent / "out", "--cluster", "none", "--limit", 2)
    return source.parent / "out"


@pytest.mark.parametrize("options", [("--limit", "3"), ("--shard-s", "5"), ("--portable",)])
def test_options_of_a_plan_that_is_made(source, out, options):
    """They change nothing any more, and the run says so."""
    said = invoke("run", source, out, "--cluster", "none", *options)
    assert f"{options[0]}: the plan is made already, and goes on with 2 tracks as it is" in said


def test_the_same_options_again(source, out):
    """They are what the plan has: there is nothing to say."""
    assert "the plan is made" not in invoke("run", source, out, "--cluster", "none", "--limit", 2)


def test_a_signed_address_is_not_kept(source, tmp_path):
    """The signature of a manifest's address is in no file of the corpus, and the next one goes on with it."""
    paths = sorted(path.relative_to(source) for path in source.rglob("*.wav"))
    (source / "all.csv").write_text("path\n" + "".join(f"{path}\n" for path in paths))
    with WebServer(source) as server:
        for signature in ("secret-a", "secret-b"):
            invoke("run", f"{server.url}/all.csv?sig={signature}", tmp_path / "out", "--cluster", "none")
    kept = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"secret" in data for data in kept)
