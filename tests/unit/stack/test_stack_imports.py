"""The stack is for people who try FLTS: its extra brings servers, and no tool of our tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import flts.stack

TEST_TOOLS = {"pytest", "hypothesis", "moto", "testcontainers", "xdist", "tests"}


def imported(folder: Path) -> Iterator[str]:
    """Top packages of every import in a folder, those inside functions, too."""
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_the_stack_imports_no_test_tool() -> None:
    found = set(imported(Path(flts.stack.__path__[0])))
    assert "subprocess" in found
    assert not TEST_TOOLS & found
