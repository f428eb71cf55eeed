"""The tree of the source: one name is one class, and the random numbers of whoever uses FLTS stay as they are."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.support import ROOT

SOURCE = ROOT / "src/flts"


def test_no_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(SOURCE)))
    assert len(places) > 100
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_nothing_draws_from_the_random_numbers_of_the_program_that_uses_flts() -> None:
    own, drawn = 0, []
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                drawn.append(f"{file.relative_to(SOURCE)}:{node.lineno}")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                own += node.attr in {"Random", "SystemRandom"}
                drawn += [f"{file.relative_to(SOURCE)}:{node.lineno}"] * (node.attr not in {"Random", "SystemRandom"})
    assert own > 2
    assert drawn == []
