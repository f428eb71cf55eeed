"""Whatever a manifest says, it is compared or refused: a wrong part is named, and no value in it ends a comparison."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.stored import golden_store

from flts.comparison import words
from flts.comparison.compare import compare
from flts.comparison.sides import Side, read_side
from flts.contracts.errors import DamagedObject, UsageError
from flts.report.evidence import newest_first, run_manifest

VALUES = [None, 0, -1, 1.5, 10**30, "", "x" * 64, "0" * 64, "\x00", "../..", True, {}, {"a": 1}, [], [None]]


@cache
def whole() -> dict[str, Any]:
    """The manifest of a run of ridge."""
    store = golden_store("store-2.zip")
    row = next(row for row in newest_first(store) if row.config_hash.startswith("54c2954f163c"))
    record: dict[str, Any] = run_manifest(store, row.config_hash, 1).model_dump(mode="json", by_alias=True)
    return record


@cache
def paths() -> list[tuple[Any, ...]]:
    """The way to every value in it."""
    return [path for path in _below(whole(), ()) if path]


def _below(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from _below(part, (*path, key))


def read(manifest: dict[str, Any]) -> Side:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        file.write_text(json.dumps(manifest))
        return read_side(str(file), lambda where: pytest.fail("a store is opened"))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_manifest_is_compared_or_refused(data: st.DataObject) -> None:
    *way, last = data.draw(st.sampled_from(paths()))
    changed = copy.deepcopy(whole())
    place: Any = changed
    for key in way:
        place = place[key]
    place[last] = data.draw(st.sampled_from(VALUES))
    try:
        side = read(changed)
    except (UsageError, DamagedObject):
        return
    found = compare([read(whole()), side])
    assert not found.same
    assert words.markdown(found)
    assert found.model_dump_json()
