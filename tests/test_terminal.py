"""A run in a real terminal, in a pipe, in silence and in a notebook."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from needs import needs
from terminal import terminal

COMMAND = [sys.executable, "-m", "corpusdiff.cli"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Some seconds of sound, and a file that is none."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(2)
    for i in range(12):
        sf.write(folder / f"{i:02d}.wav", 0.1 * rng.standard_normal(16000 * 20), 16000)
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A run in pipes."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, env=os.environ | env
    )


@needs("tmux")
@pytest.mark.parametrize("color", ["", "1"])
def test_in_tmux(recordings, tmp_path, color):
    """The bar moves in its line while it runs, through a change of the window's width, and is gone at the end."""
    line = f"{' '.join(COMMAND)} run {recordings} out --cluster none --shard-s 20; echo exit code $?"
    with terminal(tmp_path, "bash --norc --noprofile", {"NO_COLOR": color, "PS1": "$ "}) as window:
        window.type(line, "Enter")
        window.until(lambda screen: any(re.search(r"\d+/13 tracks, .* x real time", line) for line in screen))
        window.tmux("resize-window", "-x", "70")
        screen = window.until(lambda screen: any("exit code 3" in line for line in screen[3:]))
    text = "\n".join(screen)
    assert "12 ok, 1 failed, 0 filtered in out" in text
    assert "look and listen:   corpusdiff report out" in text
    assert text.count("x real time, ") <= 2, text  # what tmux wraps when the window gets narrower stays
    assert "━" not in "\n".join(screen[-12:])


def test_in_a_pipe(recordings, tmp_path):
    """Plain lines on standard error, nothing on standard output, whatever the terminal is called."""
    done = run("run", recordings, tmp_path / "out", "--cluster", "none", TERM="xterm-256color", FORCE_COLOR="1")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "13 tracks: 12 ok, 1 failed" in done.stderr


def test_in_silence(recordings, tmp_path):
    """--quiet says what went wrong, and nothing else; errors as ever."""
    done = run("run", recordings, tmp_path / "out", "--cluster", "none", "--quiet")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert "some tracks failed" in done.stderr
    again = run("run", recordings, tmp_path / "out", "--cluster", "none", "--quiet", "--max-failed", 1)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    gone = run("run", tmp_path / "nowhere", tmp_path / "out2", "--quiet")
    assert gone.returncode == 2
    assert "nowhere" in gone.stderr
    exported = run("export", tmp_path / "out", tmp_path / "wav", "--to", "wav", "--cluster", "none", "-q")
    assert (exported.returncode, exported.stdout, exported.stderr) == (0, "", "")
    assert len(list((tmp_path / "wav").rglob("*.wav"))) == 12


def test_for_programs(recordings, tmp_path):
    """--json: each line of standard output is an object, and standard error is empty, with --quiet too."""
    done = run("run", recordings, tmp_path / "out", "--cluster", "none", "--json", "--quiet", "--max-failed", 1)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[-1] == "end"
    assert done.stderr == ""


def test_a_terminal_that_can_nothing(recordings, tmp_path):
    """TERM=dumb gets lines: there is no moving the cursor."""
    from test_display import Terminal

    from corpusdiff.display import LineDisplay, open_display

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "dumb")
        with open_display(as_json=False, stream=Terminal()) as display:
            assert isinstance(display, LineDisplay)


def test_in_a_notebook(recordings, tmp_path):
    """`corpusdiff.run` in a cell: one line that changes in its place, notices in plain text, no control characters."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    code = f"""
import corpusdiff
corpus = corpusdiff.run({str(recordings)!r}, {str(tmp_path / "out")!r}, workers=2)
len(corpus)
"""
    spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "here",
            "language": "python"}  # fmt: skip
    kernel = tmp_path / "jupyter" / "kernels" / "here"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(spec))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    script = f"""
import nbclient, nbformat, sys
notebook = nbformat.read({str(tmp_path / "in.ipynb")!r}, 4)
nbclient.NotebookClient(notebook, timeout=200, kernel_name="here").execute()
nbformat.write(notebook, {str(tmp_path / "out.ipynb")!r})
"""
    assert nbclient
    nbformat.write(notebook, tmp_path / "in.ipynb")
    env = os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(Path(tmp_path / "out.ipynb").read_text())["cells"][0]["outputs"]
    lines = ["".join(found["data"]["text/plain"]) for found in outputs if found["output_type"] == "display_data"]
    assert len(lines) == 1, outputs
    assert lines[0].startswith("13/13 tracks"), outputs
    streams = "".join("".join(found["text"]) for found in outputs if found["output_type"] == "stream")
    assert "12 ok, 1 failed" in streams
    assert "\x1b" not in streams
    assert [found["data"]["text/plain"] for found in outputs if found["output_type"] == "execute_result"] == [["13"]]
