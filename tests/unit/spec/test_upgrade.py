"""A flts.toml of version 1 becomes one of version 2: only `v` changes, and what its values mean now is said."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.raising import raises

from flts.contracts.errors import SpecError
from flts.spec.sources import VERSION, validate
from flts.spec.upgrade import MOVED, upgrade_text

FILE = """# departures per hour
v = 1   # the first format

[task]        # before the rows
horizon = 24

[dataset]
name = "load" # megawatt
targets = [
  "up",  # first
  "down",
]

[models.ridge]
"""


def test_only_the_version_changes_and_comments_and_order_stay() -> None:
    upgraded = upgrade_text(FILE, "flts.toml")
    assert upgraded.text == FILE.replace("v = 1 ", "v = 2 ")
    assert upgraded.notes == MOVED


def test_line_endings_stay() -> None:
    text = FILE.replace("\n", "\r\n")
    assert upgrade_text(text, "flts.toml").text == text.replace("v = 1 ", "v = 2 ")


@pytest.mark.parametrize("text", ["", "[task]\nhorizon = 2\n", "v = 2\n", FILE.replace("v = 1", "v = 2")])
def test_a_file_of_the_current_version_stays_as_it_is(text: str) -> None:
    upgraded = upgrade_text(text, "flts.toml")
    assert (upgraded.text, upgraded.notes) == (text, ())


def test_a_second_upgrade_changes_nothing() -> None:
    once = upgrade_text(FILE, "flts.toml").text
    assert upgrade_text(once, "flts.toml").text == once


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[dataset]\nstep = "1d"\n', ('"1d"', '"24h"', "calendar")),
        ('[dataset]\nstep = "14d"\n', ('"2w"', '"336h"', "calendar")),
        ('[preprocess]\nresample = "mean"\n', ('"mean"', "absent rows", "dataset.timezone")),
    ],
)
def test_a_value_with_another_meaning_is_named_with_the_one_it_had(text: str, said: tuple[str, ...]) -> None:
    upgraded = upgrade_text(f"v = 1\n{text}", "flts.toml")
    assert upgraded.text == f"v = 2\n{text}"
    note, *others = upgraded.notes
    assert tuple(others) == MOVED
    assert all(word in note for word in said)


@pytest.mark.parametrize("text", ['[dataset]\nstep = "24h"\n', '[preprocess]\nresample = "off"\n'])
def test_a_value_with_the_same_meaning_is_not_named(text: str) -> None:
    assert upgrade_text(f"v = 1\n{text}", "flts.toml").notes == MOVED


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("v = 3\n", "spec-version", ["v"]),
        ("v = 0\n", "value-invalid", ["v"]),
        ("v = true\n", "value-invalid", ["v"]),
        ("v = 1.0\n", "value-invalid", ["v"]),
        ('v = "1"\n', "value-invalid", ["v"]),
        ("v = 1\n[task]\nhorizon = 0\n", "value-invalid", ["task.horizon"]),
        ("v = 1\n[tsak]\nhorizon = 1\n", "key-unknown", ["tsak"]),
        ("v = 2\n[tsak]\nhorizon = 1\n", "key-unknown", ["tsak"]),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(text: str, code: str, key: list[str]) -> None:
    with raises(SpecError, code=code, key=key):
        upgrade_text(text, "flts.toml")


def test_text_that_is_not_toml_is_refused_with_its_file() -> None:
    with raises(SpecError, code="not-toml", file="here.toml"):
        upgrade_text("v = ", "here.toml")


def test_the_table_of_a_model_that_is_not_installed_stays() -> None:
    text = "v = 1\n[models.gone]\nrows = 3\n"
    assert upgrade_text(text, "flts.toml").text == text.replace("v = 1", "v = 2")


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "  # words",
            "[task]",
            "horizon = 0x2 # hours",
            "[dataset]",
            "name='load'",
            'targets = [ "a" , ]',
            "[evaluate]",
            "windows = 1_000",
            "weights = { rmse = 1.0 }",
            "models.ridge = {}",
            "task.seasons = [ 24, # day\n 168 ]",
        ]
    ),
    max_size=6,
)


@settings(deadline=None)
@given(LINES, LINES)
def test_any_experiment_keeps_every_character_but_the_version(before: list[str], after: list[str]) -> None:
    text = "\n".join([*(line for line in before if not line.startswith("[")), "v=1", *after])
    try:
        validate({**tomllib.loads(text), "v": VERSION})
    except (tomllib.TOMLDecodeError, SpecError):
        with pytest.raises(SpecError):
            upgrade_text(text, "flts.toml")
        return
    assert upgrade_text(text, "flts.toml").text == text.replace("v=1", "v=2")
