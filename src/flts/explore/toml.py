"""A suggested experiment as the text of flts.toml: every value below the reason for it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import tomlkit
from tomlkit.items import Comment

from flts.explore.finding import Finding
from flts.explore.suggest import Section

WIDTH = 118


def to_toml(title: str, warnings: Sequence[Finding], sections: Sequence[Section]) -> str:
    """The text of the file. title: the command that writes it; a section that is left out becomes a comment."""
    head = tomlkit.document()
    lines = [f"Written by `{title}` from the rows; change what you know better."]
    lines += [f"Worth knowing: {f.message}.{f' → {f.action}' if f.action else ''}" for f in warnings]
    for line in chain.from_iterable(map(_comments, lines)):
        head.add(line)
    head.add("v", 2)
    return "\n".join([tomlkit.dumps(head), *map(_section, sections)])


def _section(section: Section) -> str:
    """One table with the reasons above it and above its values."""
    table = tomlkit.table()
    for entry in section.entries:
        for line in _comments(entry.reason):
            table.add(line)
        table.add(entry.key, entry.value)
    nested: Mapping[str, Any] = table
    for part in reversed(section.name.split(".")):
        nested = {part: nested}
    text = tomlkit.dumps(nested)
    reason = "".join(line.as_string() for line in _comments(section.reason))
    return reason + (textwrap.indent(text, "# ") if section.left_out else text)


def _comments(text: str) -> Iterator[Comment]:
    # names of files and columns may hold anything; a comment holds neither line breaks nor control characters
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return (tomlkit.comment(line) for line in textwrap.wrap(printable, WIDTH - 2, break_long_words=False))
