"""The Spec refuses invalid experiments with useful messages, and knows which of its values can change a number."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.raising import raises

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import SpecError
from flts.spec.fields import Spec
from flts.spec.models import DEFAULT_MODELS, Models
from flts.spec.sources import validate

LOCATORS = {
    **dict.fromkeys(("name", "train_file", "test_file", "source", "identifier"), "else"),
    "encoding": "latin-1",
    "separator": ";",
    "decimal": ",",
    "thousands": ".",
    "time_format": "%d.%m.%Y",
    "clock_column": "Time",
}
"""Values of [dataset] that only say where and how its rows are written, and another value of each."""


def nested(path: str, value: Any) -> dict[str, Any]:
    """{'a': {'b': value}} for 'a.b'."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def refusal(path: str, value: Any) -> str:
    """The message with which the Spec refuses one value."""
    with pytest.raises(SpecError) as raised:
        validate(nested(path, value))
    return str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "found", "fits"),
    [
        ("v", 0, "0", "should be 2"),
        ("v", True, "True", "should be 2"),
        ("v", "two", "'two'", "should be 2"),
        ("dataset.test_fraction", 1.0, "1.0", "less than 1"),
        ("dataset.test_fraction", 0, "0", "greater than 0"),
        ("dataset.timezone", "Europe/Madird", "Europe/Madird", "IANA name such as 'UTC'"),
        ("dataset.timezone", "/etc/passwd", "/etc/passwd", "IANA name"),
        ("dataset.timezone", "localtime", "localtime", "IANA name"),
        ("dataset.timezone", "posix/Europe/Madrid", "posix/Europe/Madrid", "IANA name"),
        ("dataset.timezone", "", "''", "IANA name"),
        ("dataset.step", "2m", "2m", "'2min', '1h'"),
        ("dataset.step", "2bd", "2bd", "'1bd'"),
        ("dataset.step", "11y", "11y", "'10y'"),
        ("dataset.step", "0min", "0min", "whole number with a unit"),
        ("dataset.step", "1.5h", "1.5h", "whole number with a unit"),
        ("dataset.identifier", "A B", "A B", "a-z, 0-9"),
        ("dataset.identifier", "../up", "../up", "a-z, 0-9"),
        ("dataset.identifier", "a" * 64, "a" * 64, "at most 63"),
        ("dataset.identifier", "current.json", "current.json", "a-z, 0-9"),
        ("dataset.targets", "down", "'down'", "list"),
        ("dataset.known_future", ["up", "up"], "known_future", "twice"),
        ("dataset.known_future", ["time"], "'time'", "time column"),
        ("dataset.holidays", "Spain", "'Spain'", "'ES'"),
        ("sample.train_rows", -1, "-1", "greater than or equal to 0"),
        ("sample.train_rows", 64.5, "64.5", "integer"),
        ("sample.train_rows", "many", "'many'", "integer"),
        ("sample.train_rows", True, "true", "expected a number"),
        ("sample.strategy", "hed", "'hed'", "'head', 'tail' or 'random'"),
        ("sample", 3, "3", "dictionary"),
        ("preprocess.missing.max_gap", -1, "-1", "greater than or equal to 0"),
        ("preprocess.missing.drop_columns_above", 1.1, "1.1", "less than or equal to 1"),
        ("preprocess.outliers.enabled", "maybe", "'maybe'", "boolean"),
        ("preprocess.outliers.method", "mad", "'mad'", "'iqr' or 'quantile'"),
        ("preprocess.outliers.factor", 0, "0", "greater than 0"),
        ("preprocess.outliers", {"method": "quantile", "factor": 50}, "50.0", "less than 50"),
        ("preprocess.lags", [0], "0", "greater than or equal to 1"),
        ("preprocess.lags", [1, 2, 1], "[1, 2, 1]", "contains a number twice"),
        ("preprocess.scaler", "min-max", "'min-max'", "'minmax', 'standard', 'robust', 'maxabs' or 'none'"),
        ("preprocess.constant", float("nan"), "nan", "finite"),
        ("preprocess.constant", float("inf"), "inf", "finite"),
        ("preprocess.constant", False, "false", "expected a number"),
        ("preprocess.hash_salt", 5, "5", "string"),
        ("preprocess.resample", "median", "'median'", "'off', 'mean', 'sum', 'first', 'last', 'min' or 'max'"),
        ("task.input_length", 0, "0", "greater than or equal to 1"),
        ("task.horizon", 0, "0", "greater than or equal to 1"),
        ("task.min_measured", 0, "0", "greater than 0"),
        ("task.min_measured", 1.1, "1.1", "less than or equal to 1"),
        ("task.seasons", "day", "'day'", "'infer'"),
        ("task.seasons", [1], "1", "greater than or equal to 2"),
        ("train.validation_fraction", 0.6, "0.6", "less than or equal to 0.5"),
        ("train.patience", 0, "0", "greater than or equal to 1"),
        ("models.gru", 3, "3", "dictionary"),
        ("models.gru.learning_rate", 0, "0", "greater than 0"),
        ("models.ridge.alphas", [], "[]", "at least 1 item"),
        ("models.ridge.alphas", [1.0, -1.0], "-1.0", "greater than 0"),
        ("models.prophet.seasonality_mode", "add", "'add'", "'additive' or 'multiplicative'"),
        ("evaluate.windows", -1, "-1", "greater than or equal to 0"),
        ("evaluate.weights.mae", -0.1, "-0.1", "greater than or equal to 0"),
        ("evaluate.weights", {"rmse": 0, "mae": 0, "mse": 0}, "sum to zero", "above zero"),
        ("evaluate.gate", "never", "'never'", "'beats-champion', 'not-worse' or 'always'"),
        ("evaluate.min_skill", "warm", "'warm'", "'warn' or 'off'"),
        ("evaluate.min_skill", False, "false", "expected a number"),
        ("run.seed", 2**32, str(2**32), "less than 4294967296"),
        ("run.seed", -1, "-1", "greater than or equal to 0"),
        ("run.threads", 0, "0", "greater than or equal to 1"),
    ],
)
def test_a_refusal_names_the_key_what_was_found_and_what_fits(path: str, value: Any, found: str, fits: str) -> None:
    message = refusal(path, value)
    assert message.startswith(path)
    assert found in message
    assert fits in message


@pytest.mark.parametrize(
    ("targets", "message"),
    [(["down", "up", "down"], "names a column twice"), (["down", "time"], "'time' is the time column")],
)
def test_targets_are_distinct_and_never_the_time(targets: list[str], message: str) -> None:
    assert message in refusal("dataset.targets", targets)


@pytest.mark.parametrize(
    ("path", "hint", "valid"),
    [
        ("sampel", "did you mean 'sample'?", "dataset, evaluate"),
        ("sample.train_row", "did you mean 'train_rows'?", "seed, strategy, test_rows, train_rows"),
        ("dataset.time-column", "did you mean 'time_column'?", "time_column"),
        ("dataset.float", "valid:", "time_column"),
        ("preprocess.missing.maxgap", "did you mean 'max_gap'?", "drop_columns_above, max_gap"),
        ("models.gruu", "did you mean 'gru'?", "gru, lstm, prophet, ridge"),
        ("models.GRU", "did you mean 'gru'?", "gru, lstm, prophet, ridge"),
        ("models.gru.epoch", "did you mean 'epochs'?", "batch_size, epochs, hidden_size"),
        ("zzz", "valid:", "dataset, evaluate"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_one(path: str, hint: str, valid: str) -> None:
    message = refusal(path, {})
    assert message.startswith(f"unknown key '{path}'; ")
    assert hint in message
    assert valid in message


def test_a_key_that_is_not_a_plain_name_is_refused_like_any_other() -> None:
    for key in ("", "a.b", "two words"):
        with raises(SpecError, code="key-unknown", key=[key]):
            validate({key: 1})


def test_every_fault_has_its_own_line() -> None:
    keys = ["sample.seed", "sample.sed", "run.threads"]
    with raises(SpecError, code="value-invalid", key=keys) as raised:
        validate({"sample": {"seed": -1, "sed": 1}, "run": {"threads": 0}})
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert all(key in line for key, line in zip(keys, lines, strict=True))


@pytest.mark.parametrize("value", [50, 50.0, "50"])
def test_whole_number_floats_and_digit_strings_are_accepted_for_integers(value: Any) -> None:
    rows = validate({"sample": {"train_rows": value}}).sample.train_rows
    assert rows == 50
    assert type(rows) is int


def test_one_value_written_in_several_ways_has_one_identity() -> None:
    plain = validate({"sample": {"train_rows": 50}, "evaluate": {"min_skill": 0.0}, "preprocess": {"lags": [1, 2]}})
    helm = validate({"sample": {"train_rows": 50.0}, "evaluate": {"min_skill": 0}, "preprocess": {"lags": [2.0, "1"]}})
    assert canonical_json(plain.identity()) == canonical_json(helm.identity())


def test_lists_that_are_sets_are_sorted_and_seasons_and_alphas_lose_repetitions() -> None:
    spec = validate(
        {
            "task": {"seasons": [168, 24, 24]},
            "preprocess": {"lags": [3, 1]},
            "models": {"ridge": {"alphas": [1, 0.5, 1]}},
        }
    )
    assert spec.task.seasons == [24, 168]
    assert spec.preprocess.lags == [1, 3]
    assert spec.models.ridge is not None
    assert spec.models.ridge.alphas == [0.5, 1.0]


@pytest.mark.parametrize(
    ("written", "step"),
    [("60min", "1h"), ("24h", "24h"), ("7d", "1w"), ("1d", "1d"), ("12mo", "1y"), ("3mo", "3mo"), ("1bd", "1bd")],
)
def test_a_step_is_read_as_its_shortest_text(written: str, step: str) -> None:
    assert validate({"dataset": {"step": written}}).dataset.step == step


@pytest.mark.parametrize("alias", ["Etc/UTC", "UCT", "Zulu", "Etc/Universal", "GMT", "Etc/GMT-0", "GMT0", "Greenwich"])
def test_every_name_of_utc_is_read_as_utc(alias: str) -> None:
    assert validate({"dataset": {"timezone": alias}}).dataset.timezone == "UTC"


@pytest.mark.parametrize("zone", ["Etc/GMT+1", "Europe/London", "Africa/Abidjan", "Europe/Madrid"])
def test_another_zone_keeps_its_name(zone: str) -> None:
    assert validate({"dataset": {"timezone": zone}}).dataset.timezone == zone


def test_resampling_needs_no_step_because_the_rows_say_it() -> None:
    assert validate({"preprocess": {"resample": "mean"}}).dataset.step == "infer"


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_of_the_format_is_refused(version: int) -> None:
    with raises(SpecError, code="spec-version", key=["v"], found=version, expected=2):
        validate({"v": version})


@pytest.mark.parametrize("models", [{}, {"models": {}}, {"models": {"gru": None}}])
def test_without_any_model_table_all_default_models_are_expected(models: dict[str, Any]) -> None:
    assert list(validate(models).expected) == sorted(DEFAULT_MODELS)


def test_a_spec_built_with_empty_models_has_all_default_models() -> None:
    assert list(Spec(models=Models()).expected) == sorted(DEFAULT_MODELS)


def test_an_empty_table_is_enough_to_make_a_model_a_candidate() -> None:
    spec = validate({"models": {"ridge": {}, "gru": {"epochs": 3}}})
    assert list(spec.expected) == ["gru", "ridge"]
    assert spec.models.gru is not None
    assert (spec.models.gru.epochs, spec.models.gru.hidden_size) == (3, 64)
    assert spec.models.lstm is None


def test_an_ensemble_is_a_candidate_that_nobody_trains_and_needs_other_models() -> None:
    spec = validate({"dataset": {"targets": ["y"]}, "models": {"ridge": {}, "prophet": {}, "ensemble": {}}})
    assert list(spec.expected) == ["ensemble", "prophet", "ridge"]
    assert spec.trained == ["prophet", "ridge"]
    assert "ensemble" not in validate({"dataset": {"targets": ["y"]}, "models": {"ridge": {}}}).expected
    with pytest.raises(SpecError, match="'ensemble' is the mean of other models"):
        validate({"dataset": {"targets": ["y"]}, "models": {"ensemble": {}}})


def test_the_scope_of_an_empty_identifier_is_global() -> None:
    assert validate({}).dataset.scope == "global"
    assert validate({"dataset": {"identifier": "north.1_a-b"}}).dataset.scope == "north.1_a-b"


def test_a_key_that_was_added_later_is_part_of_the_identity_once_it_is_used() -> None:
    spec = validate({"models": {"ridge": {}}})
    assert "holidays" not in spec.identity()["dataset"]
    assert spec.hashable()["dataset"]["holidays"] == ""


def test_the_identity_leaves_out_locators_and_absent_models_and_nothing_else() -> None:
    spec = validate({"dataset": {"holidays": "ES"}, "models": {"ridge": {}}})
    identity = spec.identity()
    full = spec.model_dump(exclude_none=True)
    locators = set(LOCATORS)
    assert set(identity) == set(full)
    assert set(full["dataset"]) - set(identity["dataset"]) == locators
    full["dataset"] = {key: value for key, value in full["dataset"].items() if key not in locators}
    assert identity == full


@pytest.mark.parametrize("locator", LOCATORS)
def test_a_locator_does_not_change_the_identity(locator: str) -> None:
    assert validate({"dataset": {locator: LOCATORS[locator]}}).identity() == validate({}).identity()


UNREADABLE = {
    "time_format": ["%d.%m", "%Y %Q", "%Y %Y", "day first"],
    "encoding": ["klingon", "hex", "idna", "punycode", "undefined"],
    "separator": ["", ";;", '"', "\n"],
    "decimal": ["", ";"],
    "thousands": ["_"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in UNREADABLE.items() for value in values])
def test_a_way_to_write_a_table_that_there_is_not_is_refused(key: str, value: str) -> None:
    with raises(SpecError, code="value-invalid", key=[f"dataset.{key}"]):
        validate({"dataset": {key: value}})


def test_one_mark_cannot_be_both() -> None:
    with raises(SpecError, code="value-invalid"):
        validate({"dataset": {"decimal": ",", "thousands": ","}})


def test_defaults_and_the_same_values_written_out_are_one_spec() -> None:
    spec = validate({})
    assert validate(spec.model_dump()) == spec
    assert validate(spec.identity()).identity() == spec.identity()


def test_a_spec_cannot_be_changed() -> None:
    spec = validate({})
    with pytest.raises(ValueError, match="frozen"):
        spec.run.seed = 1


def test_every_field_of_every_table_is_documented() -> None:
    schema = Spec.model_json_schema()
    for name, table in {**schema["$defs"], "Spec": schema}.items():
        for key, field in table["properties"].items():
            assert field.get("description"), f"{name}.{key} has no description"
