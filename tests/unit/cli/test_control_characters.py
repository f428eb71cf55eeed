"""Names and texts from a file or from the store never control the terminal: their control characters are escaped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts, Outcome

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json

pytestmark = pytest.mark.slow

RED, TITLE, SPEED = "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J"


def controls(shown: Outcome) -> set[str]:
    """The control characters of an output."""
    return {char for char in shown.out + shown.err if not char.isprintable()} - {"\n", " "}


@pytest.fixture
def rows(folder: Path) -> Path:
    """Hourly rows whose columns have names that would write to the terminal."""
    lines = [f"time,{RED},{SPEED},text"]
    lines += [f"2024-01-{1 + n // 24:02}T{n % 24:02}:00:00,{n % 7},{n % 24},{TITLE}{n}" for n in range(400)]
    file = folder / "odd.csv"
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize(
    "command",
    [
        ("data", "inspect", "odd.csv"),
        ("data", "inspect", "odd.csv", "--target", TITLE),
        ("init", "odd.csv", "--force"),
        ("run", "--set", "dataset.train_file='odd.csv'", "--set", "dataset.targets=['x']"),
        ("data", "inspect", TITLE),
    ],
)
def test_odd_names_in_rows_and_arguments_are_escaped(flts: Flts, rows: Path, command: tuple[str, ...]) -> None:
    shown = flts(*command)
    assert r"\x1b" in shown.out + shown.err
    assert controls(shown) == set()


@pytest.mark.usefixtures("ran")
def test_odd_texts_in_the_store_are_escaped(flts: Flts, folder: Path) -> None:
    store = open_store((folder / ".flts" / "objects").as_uri())
    key = layout.log_entry("global", 1)
    entry = json.loads(store.get(key) or b"") | {"actor": RED + TITLE + SPEED}
    store.replace(key, canonical_json(entry))
    for command in (("promotions", "list"), ("promotions", "show")):
        shown = flts(*command)
        assert shown.code == 0, shown
        assert r"\x1b[31mred" in shown.out
        assert controls(shown) == set()
