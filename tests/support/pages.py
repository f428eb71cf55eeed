"""A page of the docs as its reader meets it: blocks of code, and the marks of commands that need more than a folder."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.support import ROOT

PAGES = sorted(
    str(page.relative_to(ROOT)) for part in ("*.md", "docs/**/*.md", "examples/**/*.md") for page in ROOT.glob(part)
)
MARK = re.compile(r"(?:^|\s)#.*(?:\bneeds\b|[◆◇])")
"""A comment that says what a command needs, or has one of the two marks that its page explains."""
RUN = {"sh", "python"}
"""Languages that a reader types. A block without a language is what the commands before it say."""


class Block(NamedTuple):
    """A fenced block. line: the first one of its text; section: the heading `##` above it, empty without one."""

    page: str
    line: int
    language: str
    text: str
    section: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, each with the lines that continue it."""
        return re.sub(r"\\\n", "\\\0", self.text).replace("\n", "\n\0").replace("\\\0", "\\\n").split("\0")[:-1]

    @property
    def marked(self) -> list[str]:
        """The lines of commands that are marked: all of them where the first line of the block is a mark."""
        if self.language not in RUN:
            return []
        if re.match(MARK, self.commands[0]):
            return self.commands[1:]
        return [command for command in self.commands if self.language == "sh" and re.search(MARK, command)]

    @property
    def unmarked(self) -> list[str]:
        """The commands that a test runs."""
        if self.language not in RUN or re.match(MARK, self.commands[0]):
            return []
        return [command for command in self.commands if command not in self.marked]

    def given(self) -> Block:
        """The block where what its first line asks for is there."""
        return self._replace(text=self.text.partition("\n")[2])

    @property
    def file(self) -> str | None:
        """The file whose content the block is: its first line is a comment with the name."""
        named = re.match(r"# ([\w.-]+\.toml)\n", self.text)
        return named[1] if self.language == "toml" and named else None


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    text = (ROOT / page).read_text()
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        headings = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, line, match[1], match[2], headings[-1] if headings else ""))
    return found


def shows(shown: str, said: str) -> bool:
    """Whether a page shows what a command said, or a part of it.

    `…` stands for anything. Durations may differ, and so may the width of blanks.
    """
    pattern = r"\s+".join(map(_word, shown.split()))
    return re.search(rf"(?:^|\s){pattern}(?:\s|$)", said) is not None


def _word(word: str) -> str:
    if re.fullmatch(r"\d+\.\d+s", word):
        return r"\d+\.\d+s"
    return r".*?".join(map(re.escape, word.split("…")))
