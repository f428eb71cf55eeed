"""Any input is a Spec or one SpecError; a Spec that is written and read again is the same experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flts.contracts.canonical import canonical_json, digest
from flts.contracts.errors import SpecError, UsageError
from flts.spec.fields import Spec
from flts.spec.lineage import RawDigests, Versions, data_fields, identify
from flts.spec.models import Models
from flts.spec.sources import LoadedSpec, load_spec, validate
from flts.spec.table import Table

VERSIONS = Versions(1, dict.fromkeys(Models.model_fields, 1))


def leaves(table: Table | type[Table], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every value of a Spec with all default models."""
    paths = []
    for name in (table if isinstance(table, type) else type(table)).model_fields:
        value = getattr(table, name)
        paths += leaves(value, (*path, name)) if isinstance(value, Table) else [(*path, name)]
    return paths


LEAVES = leaves(Spec())
NAMES = sorted({name for path in LEAVES for name in path})
WORDS = st.sampled_from(
    [
        "",
        "infer",
        "localtime",
        "\udcff",
        "off",
        "warn",
        "UTC",
        "Europe/Madrid",
        "1h",
        "0h",
        "99999999999d",
        "time",
        "load",
        "mean",
        "nan",
        "1",
        "-1",
    ]
) | st.text(max_size=8)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 3)
    | st.floats()
    | WORDS
    | st.sampled_from([datetime(2020, 1, 1), date(2020, 1, 1), time(1), 10**400, -(10**25), 1e308, 5e-324, b"x"])
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
EXPERIMENTS = st.dictionaries(st.sampled_from(sorted(Spec.model_fields)) | st.text(max_size=5), ANYTHING, max_size=4)


def fitting(path: tuple[str, ...]) -> st.SearchStrategy[tuple[tuple[str, ...], Any]]:
    """The path of a value and a value of its type."""
    table: Any = Spec()
    for name in path[:-1]:
        table = getattr(table, name)
    default, annotation = getattr(table, path[-1]), type(table).model_fields[path[-1]].annotation
    words = [option for option in get_args(annotation) if isinstance(option, str)]
    values: st.SearchStrategy[Any] = st.sampled_from([*words, "UTC", "1h", "load", ""])
    match default:
        case bool():
            values = st.booleans()
        case int():
            values = st.integers(0, 2**33)
        case float():
            values = st.floats(0.0, 60.0)
        case list():
            values = st.lists(st.integers(2, 9) | st.floats(0.1, 9.0)) | st.lists(st.sampled_from(["load", "wind"]))
    return st.tuples(st.just(path), values)


CHANGES = st.lists(
    st.sampled_from(LEAVES).flatmap(fitting) | st.tuples(st.sampled_from(LEAVES), ANYTHING), min_size=1, max_size=4
).map(dict)


def hashes(spec: Spec) -> tuple[Any, ...]:
    data_hash = digest(data_fields(spec, RawDigests("a" * 64, "b" * 64), version=1))
    identity = identify(spec, data_hash, VERSIONS)
    return identity.config_hash, identity.data_hash, identity.windows_hash, dict(identity.model_hashes)


def refusal_of(load: Callable[[], LoadedSpec], accepted: str) -> str:
    """The message of a refusal; `accepted` when there is none and the Spec survives a round trip."""
    try:
        spec = load().spec
    except UsageError as refusal:
        return str(refusal)
    assert validate(spec.model_dump()) == spec
    return accepted


def spec_or_refusal(values: Mapping[str, Any]) -> Spec | None:
    """The Spec, which must survive a round trip, or None for a SpecError."""
    try:
        spec = validate(values)
    except SpecError:
        return None
    for written in (spec.model_dump(mode="json", exclude_none=True), spec.identity()):
        canonical_json(written)
        assert hashes(validate(written)) == hashes(spec)
    assert validate(spec.model_dump()) == spec
    return spec


@settings(deadline=None)
@given(EXPERIMENTS)
def test_any_values_are_a_spec_or_a_refusal(values: dict[str, Any]) -> None:
    spec_or_refusal(values)


@settings(deadline=None)
@given(CHANGES)
def test_a_spec_with_any_other_values_is_a_spec_or_a_refusal(changes: dict[tuple[str, ...], Any]) -> None:
    values = Spec().model_dump(exclude_none=True)
    for path, value in changes.items():
        table = values
        for name in path[:-1]:
            table = table[name]
        table[path[-1]] = value
    spec_or_refusal(values)


LINES = st.lists(
    st.sampled_from(
        ["[dataset]", "[models.ridge]", "[[models]]", "v = 1", "v = 2", "v = 3", "[evaluate.weights]", "rmse = 0", "\0"]
    )
    | st.builds(
        lambda path, text: f"{'.'.join(path)} = {text}",
        st.sampled_from(LEAVES),
        st.sampled_from(["1", '"a"', "[]", "{}", "nan", "1979-05-27", "true"]) | st.text(max_size=6),
    )
    | st.text(max_size=10),
    max_size=5,
).map("\n".join)


@settings(deadline=None)
@given(LINES.map(str.encode) | st.binary(max_size=60))
def test_any_file_is_an_experiment_or_a_refusal_that_names_it(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flts.toml"
        file.write_bytes(content)
        assert str(file) in refusal_of(lambda: load_spec(file), str(file))


KEYS = st.builds(".".join, st.sampled_from(LEAVES)) | st.lists(
    st.sampled_from(NAMES) | st.text(max_size=4), max_size=4
).map(".".join)
FLAGS = st.builds(
    lambda key, equals, text: key + equals + text,
    KEYS,
    st.sampled_from(["=", "=", " = ", ""]),
    WORDS | st.text(max_size=12),
)


@example(["dataset.timezone=\udcff"])  # a byte of the command line that is not UTF-8
@example(['dataset.targets=["\udcff"]'])
@example(["dataset.timezone=localtime"])  # zoneinfo knows it, and every machine another one
@example(["dataset.timezone=right/UTC"])
@settings(deadline=None)
@given(st.lists(FLAGS, max_size=3))
def test_any_flags_are_an_experiment_or_a_refusal_that_names_one(flags: list[str]) -> None:
    assert "--set" in refusal_of(lambda: load_spec(overrides=flags), "--set")


@settings(deadline=None)
@given(st.dictionaries(KEYS.map(lambda key: "FLTS_SPEC__" + key.replace(".", "__").upper()), WORDS, max_size=3))
def test_any_variables_are_an_experiment_or_a_refusal_that_names_one(variables: dict[str, str]) -> None:
    assert "FLTS_SPEC__" in refusal_of(lambda: load_spec(environ=variables), "FLTS_SPEC__")
