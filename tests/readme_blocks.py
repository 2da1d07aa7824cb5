"""What a Markdown file shows in its code blocks, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<command>.*?)(?:\s+# .*?)?$")
_EXIT_CODE = re.compile(r"# exits (\d+)$")
_FILE_NAME = re.compile(r"\A# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Parameters
    ----------
    line : of the opening fence in the file, from 1
    language : what the fence says
    text : what is inside
    """

    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is, from a first line such as ``# fade.toml``."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found else None

    @property
    def commands(self) -> list[tuple[str, int]]:
        """Commands of a console block, each with the exit code it should have (``# exits 3``, else 0)."""
        found = []
        for line in self.text.splitlines():
            if match := _COMMAND.match(line):
                code = _EXIT_CODE.search(line)
                found.append((match["command"], int(code[1]) if code else 0))
        return found


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of `markdown`."""
    for match in _BLOCK.finditer(markdown):
        yield Block(markdown.count("\n", 0, match.start()) + 1, match[1], match[2])
