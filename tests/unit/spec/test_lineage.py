"""Hashes change exactly with the values they depend on, and a difference can be explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flts.contracts.canonical import canonical_json, digest, sha256
from flts.spec.fields import Spec
from flts.spec.lineage import ABSENT, RawDigests, Versions, data_fields, explain, identify, moves, short
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE, Models
from flts.spec.sources import validate

ONE_FILE = RawDigests("a" * 64, None)
TWO_FILES = RawDigests("a" * 64, "b" * 64)
VERSIONS = Versions(1, dict.fromkeys(Models.model_fields, 1))

CHANGES: dict[str, Any] = {
    "dataset.test_fraction": 0.3,
    "dataset.time_column": "when",
    "dataset.timezone": "Europe/Madrid",
    "dataset.step": "2min",
    "dataset.targets": ["down", "up"],
    "sample.train_rows": 1,
    "sample.test_rows": 1,
    "sample.strategy": "tail",
    "sample.seed": 1,
    "preprocess.missing.max_gap": 1,
    "preprocess.missing.drop_columns_above": 0.5,
    "preprocess.outliers.enabled": True,
    "preprocess.outliers.method": "quantile",
    "preprocess.outliers.factor": 2.0,
    "preprocess.time_features": False,
    "preprocess.lags": [1],
    "preprocess.scaler": "none",
    "preprocess.constant": 1.0,
    "preprocess.hash_salt": "x",
    "preprocess.resample": "mean",
    "dataset.known_future": ["up"],
    "dataset.holidays": "ES",
    "task.input_length": 11,
    "task.horizon": 2,
    "task.seasons": [24],
    "task.min_measured": 0.5,
    "train.validation_fraction": 0.2,
    "train.patience": 4,
    "models.gru.hidden_size": 1,
    "models.gru.num_layers": 2,
    "models.gru.epochs": 1,
    "task.bounds": "off",
    "models.gru.batch_size": 1,
    "models.gru.learning_rate": 0.1,
    "models.lstm.hidden_size": 1,
    "models.lstm.num_layers": 2,
    "models.lstm.epochs": 1,
    "models.lstm.batch_size": 1,
    "models.lstm.learning_rate": 0.1,
    "models.prophet.changepoint_prior_scale": 0.1,
    "models.prophet.seasonality_prior_scale": 1.0,
    "models.prophet.seasonality_mode": "multiplicative",
    "models.automfles.validation_windows": 3,
    "models.ridge.alphas": [1.0],
    "models.gbm.rounds": 100,
    "models.gbm.learning_rate": 0.05,
    "models.gbm.leaves": 15,
    "evaluate.windows": 10,
    "evaluate.step": 5,
    "evaluate.min_coverage": 0.7,
    "evaluate.max_bundle_mb": 1.0,
    "evaluate.max_latency_ms": 5.0,
    "evaluate.weights.rmse": 0.6,
    "evaluate.weights.mae": 0.4,
    "evaluate.weights.mse": 0.1,
    "evaluate.gate": "always",
    "evaluate.margin": 0.05,
    "evaluate.min_skill": 0.1,
    "run.seed": 1,
    "run.threads": 2,
}
"""Another value for every hashed leaf that may have one."""

LOCATORS = {
    "dataset.name": "x",
    "dataset.train_file": "x.csv",
    "dataset.test_file": "y.csv",
    "dataset.source": "s3://b",
    "dataset.identifier": "north",
    "dataset.encoding": "latin-1",
    "dataset.separator": ";",
    "dataset.decimal": ",",
    "dataset.thousands": ".",
    "dataset.time_format": "%d.%m.%Y",
    "dataset.clock_column": "Time",
}
UNCHANGEABLE = {"v"}
"""The leaf with only one valid value: the version of the format."""


def spec_with(path: str = "", value: Any = None) -> Spec:
    """All default models on one target, with one value changed."""
    values: dict[str, Any] = {
        "dataset": {"targets": ["down"]},
        "models": {name: {} for name in DEFAULT_MODELS},
    }
    table = values
    *above, key = path.split(".")
    for name in above:
        table = table.setdefault(name, {})
    if key:
        table[key] = value
    return validate(values)


def hashes(spec: Spec, raw: RawDigests = ONE_FILE, versions: Versions = VERSIONS) -> dict[str, str]:
    """All hashes by the names that `moves` uses."""
    identity = identify(spec, digest(data_fields(spec, raw, versions.preprocess)), versions)
    models = {f"model_hash({name})": value for name, value in identity.model_hashes.items()}
    return {
        "data_hash": identity.data_hash,
        **models,
        "windows_hash": identity.windows_hash,
        "config_hash": identity.config_hash,
    }


def changed(a: dict[str, str], b: dict[str, str]) -> set[str]:
    """Names of the hashes that differ or that only one side has."""
    return {name for name in {*a, *b} if a.get(name) != b.get(name)}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Paths of everything that is not a table."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path


def test_every_leaf_of_the_spec_moves_a_hash_or_is_a_locator() -> None:
    spec = spec_with()
    assert set(moves(spec)) | set(LOCATORS) | {"v"} == set(leaves(spec.model_dump(exclude_none=True)))
    assert not set(moves(spec)) & set(LOCATORS)
    assert all(moves(spec).values())


def test_every_leaf_is_changed_by_the_oracle_below() -> None:
    assert set(CHANGES) | set(LOCATORS) | UNCHANGEABLE == set(leaves(spec_with().model_dump(exclude_none=True)))


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_the_hashes_that_change_with_a_field_are_exactly_those_that_moves_names(path: str) -> None:
    before, after = spec_with(), spec_with(path, CHANGES[path])
    assert changed(hashes(before), hashes(after)) == set(moves(before)[path])


@pytest.mark.parametrize("path", sorted(LOCATORS))
def test_a_locator_changes_no_hash(path: str) -> None:
    assert changed(hashes(spec_with()), hashes(spec_with(path, LOCATORS[path]))) == set()


def test_moves_of_a_spec_with_fewer_models_names_only_these() -> None:
    moved = moves(validate({"models": {"ridge": {}}}))
    assert moved["run.seed"] == ("model_hash(ridge)", "config_hash")
    assert moved["evaluate.windows"] == ("windows_hash", "config_hash")
    assert moved["evaluate.gate"] == ("config_hash",)
    assert "train.patience" not in moved  # ridge has no epochs
    assert moved["sample.seed"] == ("data_hash", "model_hash(ridge)", "windows_hash", "config_hash")
    assert not any(path.startswith("models.gru") for path in moved)


def test_the_hashes_of_a_value_are_named_in_short() -> None:
    moved = moves(validate({"models": {"ridge": {}, "gru": {}}}))
    assert short(moved["sample.seed"]) == "every hash"
    assert short(moved["run.seed"]) == "every model_hash, config_hash"
    assert short(moved["train.patience"]) == "model_hash(gru), config_hash"
    assert short(moved["evaluate.windows"]) == "windows_hash, config_hash"
    assert short(()) == "nothing"


GRU_ALONE = {"model_hash(gru)", "model_hash(ensemble)", "config_hash"}
"""The hashes that change where this model does, or is left out: the ensemble is made of it."""


def test_a_removed_candidate_changes_the_configuration_and_no_other_model() -> None:
    some: dict[str, Any] = {name: {} for name in DEFAULT_MODELS if name != "gru"}
    fewer = validate({"dataset": {"targets": ["down"]}, "models": some})
    assert changed(hashes(spec_with()), hashes(fewer)) == GRU_ALONE


def test_test_fraction_counts_only_where_one_file_is_split() -> None:
    other = spec_with("dataset.test_fraction", 0.3)
    assert changed(hashes(spec_with(), TWO_FILES), hashes(other, TWO_FILES)) == set()


def test_the_bytes_of_both_files_count() -> None:
    base = hashes(spec_with(), TWO_FILES)
    assert changed(base, hashes(spec_with(), RawDigests("c" * 64, "b" * 64))) == set(base)
    assert changed(base, hashes(spec_with(), RawDigests("a" * 64, "c" * 64))) == set(base)
    assert changed(base, hashes(spec_with(), ONE_FILE)) == set(base)


def test_a_raised_code_version_of_a_model_changes_this_model_alone() -> None:
    raised = Versions(1, {**VERSIONS.models, "gru": 2})
    assert changed(hashes(spec_with()), hashes(spec_with(), versions=raised)) == GRU_ALONE


def test_a_raised_code_version_of_preprocessing_changes_everything() -> None:
    base = hashes(spec_with())
    assert changed(base, hashes(spec_with(), versions=Versions(2, VERSIONS.models))) == set(base)


def test_raised_code_versions_of_train_and_evaluate_move_their_hashes() -> None:
    base, everything = hashes(spec_with()), set(hashes(spec_with()))
    train, evaluate = (Versions(1, VERSIONS.models, *raised) for raised in ((2, 1), (1, 2)))
    assert changed(base, hashes(spec_with(), versions=train)) == everything - {"data_hash"}
    assert changed(base, hashes(spec_with(), versions=evaluate)) == {"config_hash"}


def test_two_models_with_the_same_table_have_different_hashes() -> None:
    by_name = hashes(spec_with())
    assert by_name["model_hash(gru)"] != by_name["model_hash(lstm)"]


def test_canonical_json_is_sorted_compact_utf8_without_a_negative_zero() -> None:
    value = {"b": [1, 2.5, True, None], "é": "ü\n", "a": (-0.0, {"z": 0.0, "y": -0})}
    assert canonical_json(value) == '{"a":[0.0,{"y":0,"z":0.0}],"b":[1,2.5,true,null],"é":"ü\\n"}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")], {"a": {"b": float("nan")}}])
def test_canonical_json_refuses_numbers_that_json_does_not_have(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {None: 1}}, [{True: 1}]])
def test_canonical_json_refuses_a_key_that_json_would_turn_into_a_string(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        canonical_json(value)


def test_digest_is_the_sha256_of_the_canonical_json() -> None:
    assert digest({"b": 1, "a": 2}) == sha256(b'{"a":2,"b":1}')


def test_explain_names_each_leaf_in_which_two_structures_differ() -> None:
    a = {"same": 1, "table": {"x": 1, "y": [1, 2]}, "gone": None, "kind": {"k": 1}}
    b = {"same": 1.0, "table": {"x": 1, "y": [1, 3]}, "new": {"n": 1}, "kind": "é"}
    assert [str(difference) for difference in explain(a, b)] == [
        "gone null → (absent)",
        'kind {"k": 1} → "é"',
        'new (absent) → {"n": 1}',
        "same 1 → 1.0",
        "table.y [1, 2] → [1, 3]",
    ]
    assert explain(a, b)[0].b is ABSENT


def test_explain_of_the_same_structure_is_empty() -> None:
    assert explain({"a": [0.0, (1, 2)]}, {"a": [-0.0, [1, 2]]}) == []


def with_ensemble(**tables: Any) -> Spec:
    """Two models and their ensemble."""
    models = {"ridge": {}, "prophet": {}, ENSEMBLE: {}, **tables.pop("models", {})}
    return validate({"dataset": {"targets": ["down"]}, "models": models, **tables})


def test_the_hash_of_an_ensemble_follows_every_candidate_and_moves_none() -> None:
    before = hashes(with_ensemble())
    after = hashes(with_ensemble(models={"ridge": {"alphas": [1.0]}}))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"model_hash(ridge)", f"model_hash({ENSEMBLE})", "config_hash"}
    without = hashes(validate({"dataset": {"targets": ["down"]}, "models": {"ridge": {}, "prophet": {}}}))
    assert {name for name in without if without[name] != before[name]} == {"config_hash"}


def test_the_hash_of_an_ensemble_follows_the_weights_of_the_score_and_its_own_version() -> None:
    before = hashes(with_ensemble())
    newer = Versions(1, {**VERSIONS.models, ENSEMBLE: 2})
    for after in (
        hashes(with_ensemble(evaluate={"weights": {"mae": 1.0}})),
        hashes(with_ensemble(), versions=newer),
    ):
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {f"model_hash({ENSEMBLE})", "config_hash"}


def test_moves_and_short_name_the_ensemble() -> None:
    moved = moves(with_ensemble())
    assert moved["models.ridge.alphas"] == (f"model_hash({ENSEMBLE})", "model_hash(ridge)", "config_hash")
    assert moved["evaluate.weights.mae"] == (f"model_hash({ENSEMBLE})", "config_hash")
    assert short(moved["models.ridge.alphas"]) == f"model_hash({ENSEMBLE}), model_hash(ridge), config_hash"
    assert short(moved["run.seed"]) == "every model_hash, config_hash"
