"""Commands, options and jobs are completed by the shells themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs

#: zsh takes no note of folders with dots in their path.
BIN = os.path.normpath(Path(sys.executable).parent)

ENV = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "xterm"}

#: What is typed, and what the shell should offer of it.
TYPED = [
    ("corpusdiff ex", {"export", "expressions"}),
    ("corpusdiff verify --g", {"--gc"}),
    ("corpusdiff run a b --job codec-", {"codec-lossless"}),
    ("corpusdiff table reco", {"recordings"}),
]

BASH = """
eval "$(corpusdiff completion bash)"
COMP_LINE=$1; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { [ "$2" = default ] && mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"); }
_corpusdiff_completion corpusdiff
printf '%s\\n' "${COMPREPLY[@]}"
"""


ZSH = """
compdef() { }
_describe() { print -l -- ${(P)3} }
compadd() { print -l -- ${(P)5} }
_path_files() { print -l -- ${words[CURRENT]}*(:t) }
source <(corpusdiff completion zsh)
words=(${=1}); CURRENT=${#words}
_corpusdiff_completion
"""


def offered(*command: str, folder: Path) -> str:
    """What the shell prints."""
    (folder / "recordings").mkdir()
    done = subprocess.run(
        command, cwd=folder, env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("bash")
@pytest.mark.parametrize(("typed", "wanted"), TYPED)
def test_bash(typed, wanted, tmp_path):
    """As bash calls it, with what is in the folder where a file is wanted."""
    assert set(offered("bash", "-c", BASH, "bash", typed, folder=tmp_path).split()) == wanted


@needs("fish")
@pytest.mark.parametrize(("typed", "wanted"), TYPED)
def test_fish(typed, wanted, tmp_path):
    """As fish lists it."""
    script = "corpusdiff completion fish | source; complete -C $argv[1]"
    said = offered("fish", "--no-config", "-c", script, typed, folder=tmp_path)
    assert {line.split("\t")[0].rstrip("/") for line in said.splitlines()} == wanted


@needs("zsh")
@pytest.mark.parametrize(("typed", "wanted"), TYPED)
def test_zsh(typed, wanted, tmp_path):
    """As zsh calls it; what its editor would list is printed."""
    said = offered("zsh", "-f", "-c", ZSH, "zsh", typed, folder=tmp_path)
    assert {line.split(":")[0] for line in said.splitlines()} == wanted


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_each_shell_is_told_where_to_put_it(shell):
    """The script names the command, and says where it is found for good."""
    command = [sys.executable, "-m", "corpusdiff.cli", "completion", shell]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "_CORPUSDIFF_COMPLETE" in said
    assert "# for good: " in said
