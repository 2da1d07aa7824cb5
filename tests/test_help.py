"""What `--help` says: every command is listed, explained by examples, and the examples are commands."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.cli.group import SECTIONS

COMMANDS = dict(main.commands)


def examples(command: click.Command) -> list[list[str]]:
    """Words of each example, without what the shell keeps for itself."""
    lines = [line.strip().removeprefix('eval "$(').removesuffix(')"') for line in (command.help or "").splitlines()]
    found = []
    for line in lines:
        if line.startswith("corpusdiff "):
            words = shlex.split(line)
            stop = next((i for i, word in enumerate(words) if word in {">", "<", "|"}), len(words))
            found.append(words[1:stop])
    return found


def test_all_commands_are_listed():
    """`corpusdiff --help` has each command once, with a line that fits a terminal."""
    listed = [name for commands in SECTIONS.values() for name in commands]
    assert sorted(listed) == sorted(COMMANDS)
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    for commands in SECTIONS.values():
        for name, words in commands.items():
            assert f"  {name:<12}  {words}\n" in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_examples_are_commands(name, tmp_path, monkeypatch):
    """Each command has examples, and its parser takes every one of them where the files are there."""
    monkeypatch.chdir(tmp_path)
    shown = [words for words in examples(COMMANDS[name]) if words[0] == name]
    assert shown, f"{name} --help has no example"
    for words in examples(COMMANDS[name]):
        for word in words:
            if "://" not in word and word.endswith("/"):
                Path(word).mkdir(exist_ok=True)
            elif "." in word and "/" not in word and "=" not in word and not word.startswith("-"):
                Path(word).touch()
            elif word.startswith("~/") and not Path(word).suffix:
                Path(word).mkdir(parents=True, exist_ok=True)
        command = COMMANDS[words[0]]
        with command.make_context(words[0], words[1:]) as context:
            assert context.params


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_explained(name):
    """No option without a sentence."""
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
            assert parameter.help.rstrip().endswith((".", "?", "]")), (parameter.opts, parameter.help)


def test_where_leads_to_its_language():
    """Whoever asks what EXPR is finds it."""
    for command in COMMANDS.values():
        for parameter in command.params:
            if "--where" in parameter.opts:
                assert "corpusdiff expressions" in parameter.help
    said = CliRunner().invoke(main, ["expressions"]).output
    assert said.startswith("# Conditions")


def test_a_reader_that_has_enough(tmp_path):
    """`corpusdiff ... | head` ends without a complaint."""
    command = f"{sys.executable} -m corpusdiff.cli expressions | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("# Conditions\n", "")
