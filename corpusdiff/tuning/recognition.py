"""The objective that a command of the user's own measures: what a recogniser makes of the processed files."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from corpusdiff.errors import UsageError
from corpusdiff.tuning.objectives import Heard, NoScore

#: What stands for the folder in the command.
FOLDER = "{dir}"


@dataclass(frozen=True)
class Wer:
    """The number that a command prints of a folder of WAV files: less is better.

    The folder holds the tracks under their ids, and ``manifest.jsonl`` in NeMo's form with the fields of the source's
    manifest (a transcript, say). The command's last line is a number, or JSON with one under ``wer``.

    Parameters
    ----------
    command : with ``{dir}`` where the folder goes
    shell : run it by the shell; else its words are the program and its arguments
    """

    name: ClassVar[str] = "wer"
    unit: ClassVar[str] = ""
    maximise: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    needs_files: ClassVar[bool] = True

    command: str
    shell: bool = False

    def score(self, heard: Heard) -> Any:
        """Nothing: the files are heard together."""
        return 0

    def total(self, scores: Sequence[Any], folder: str) -> float:
        """What the command says of the folder."""
        words: str | list[str]
        if self.shell:
            words = self.command.replace(FOLDER, shlex.quote(folder))
        else:
            words = [word.replace(FOLDER, folder) for word in shlex.split(self.command)]
        try:
            done = subprocess.run(  # the user's own command line
                words, shell=self.shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise UsageError(f"--command: {error}") from error
        if done.returncode:
            raise NoScore(f"the command ended with {done.returncode}: {_last_line(done.stderr) or 'no message'}")
        return _number(_last_line(done.stdout))


def make_wer(command: str | None, *, shell: bool) -> Wer:
    """The objective of a command. Raises UsageError for one that cannot be run."""
    if not command or FOLDER not in command:
        raise UsageError(
            f"--objective wer: give --command with {FOLDER} where the folder of WAV files goes, "
            f"e.g. --command 'python recognise.py {FOLDER}'"
        )
    try:
        shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command}: {error}") from error
    return Wer(command, shell)


def _number(line: str) -> float:
    try:
        found = json.loads(line)
        value = float(found["wer"] if isinstance(found, dict) else found)
    except (ValueError, TypeError, KeyError):
        value = math.nan
    if not math.isfinite(value):
        raise NoScore(f'the command\'s last line is {line!r}: expected a number, or {{"wer": number}}')
    return value


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
