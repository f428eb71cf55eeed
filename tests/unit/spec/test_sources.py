"""A value comes from the strongest of four sources, and an error about it names that source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.raising import raises

from flts.contracts.errors import FltsError, SpecError, UsageError
from flts.spec.sources import VERSION, load_spec

FILE = """
[dataset]
name = "rows"
targets = ["down"]

[sample]
train_rows = 10
test_rows = 20
seed = 1

[models.gru]
epochs = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flts.toml"
    path.write_text(FILE)
    return path


def refusal(path: Path | None = None, **sources: Any) -> str:
    """The message with which the sources are refused."""
    with pytest.raises(FltsError) as raised:
        load_spec(path, **sources)
    return str(raised.value)


def test_without_any_source_every_value_is_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_spec()
    assert loaded.origins == {}
    assert loaded.folder == tmp_path
    assert loaded.spec.sample.train_rows == 0


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(file: Path) -> None:
    loaded = load_spec(
        file,
        environ={"FLTS_SPEC__SAMPLE__TEST_ROWS": "21", "FLTS_SPEC__SAMPLE__SEED": "2", "OTHER": "x"},
        overrides=["sample.seed=3"],
    )
    sample = loaded.spec.sample
    assert (sample.strategy, sample.train_rows, sample.test_rows, sample.seed) == ("head", 10, 21, 3)
    assert loaded.origins == {
        "dataset.name": str(file),
        "dataset.targets": str(file),
        "sample.train_rows": str(file),
        "sample.test_rows": "environment FLTS_SPEC__SAMPLE__TEST_ROWS",
        "sample.seed": "flag --set sample.seed",
        "models.gru.epochs": str(file),
    }
    assert loaded.folder == file.parent


def test_the_later_of_two_flags_for_one_key_wins() -> None:
    assert load_spec(overrides=["run.seed=1", "run.seed=2"]).spec.run.seed == 2


@pytest.mark.parametrize(
    ("flag", "read", "expected"),
    [
        ("sample.train_rows=50", lambda s: s.sample.train_rows, 50),
        (" sample.train_rows = 50 ", lambda s: s.sample.train_rows, 50),
        ("sample.strategy=tail", lambda s: s.sample.strategy, "tail"),
        ('sample.strategy="tail"', lambda s: s.sample.strategy, "tail"),
        ('dataset.targets=["a", "b"]', lambda s: s.dataset.targets, ["a", "b"]),
        ("dataset.name=lte", lambda s: s.dataset.name, "lte"),
        ("dataset.name=2018", lambda s: s.dataset.name, "2018"),
        ("dataset.name=true", lambda s: s.dataset.name, "true"),
        ('dataset.name="2018"', lambda s: s.dataset.name, "2018"),
        ("dataset.name=a=b", lambda s: s.dataset.name, "a=b"),
        ("dataset.name=", lambda s: s.dataset.name, ""),
        ("preprocess.hash_salt=1.0", lambda s: s.preprocess.hash_salt, "1.0"),
        ("preprocess.hash_salt=2018-01-01", lambda s: s.preprocess.hash_salt, "2018-01-01"),
        ("preprocess.hash_salt=5\nx = 3", lambda s: s.preprocess.hash_salt, "5\nx = 3"),
        ("preprocess.time_features=false", lambda s: s.preprocess.time_features, False),
        ("preprocess.missing={max_gap = 2}", lambda s: s.preprocess.missing.max_gap, 2),
        ("evaluate.min_skill=0.1", lambda s: s.evaluate.min_skill, 0.1),
        ("evaluate.min_skill=off", lambda s: s.evaluate.min_skill, "off"),
        ("task.seasons=[24, 168]", lambda s: s.task.seasons, [24, 168]),
        ("task.seasons=infer", lambda s: s.task.seasons, "infer"),
        ("models.ridge={}", lambda s: list(s.expected), ["ridge"]),
        ("models.gru.epochs=4", lambda s: s.models.gru.epochs, 4),
    ],
)
def test_set_reads_toml_or_else_the_text_itself(flag: str, read: Any, expected: Any) -> None:
    key, _, text = flag.partition("=")
    variable = "FLTS_SPEC__" + key.strip().upper().replace(".", "__")
    for spec in (load_spec(overrides=[flag]).spec, load_spec(environ={variable: text}).spec):
        value = read(spec)
        assert value == expected
        assert type(value) is type(expected)


@pytest.mark.parametrize("flag", ["sample.train_rows", "=5", "", "  =5"])
def test_set_without_key_and_value_is_refused(flag: str) -> None:
    with raises(UsageError, code="set-invalid", found=flag):
        load_spec(overrides=[flag])


@pytest.mark.parametrize(
    ("sources", "where"),
    [
        ({"environ": {"FLTS_SPEC__SAMPLE__TRAIN_ROW": "5"}}, "environment FLTS_SPEC__SAMPLE__TRAIN_ROW"),
        ({"overrides": ["sample.train_row=5"]}, "flag --set sample.train_row"),
    ],
)
def test_an_unknown_key_is_refused_with_its_source(file: Path, sources: dict[str, Any], where: str) -> None:
    assert refusal(file, **sources) == (
        f"{where}: unknown key 'sample.train_row';"
        " did you mean 'train_rows'? (valid: seed, strategy, test_rows, train_rows)"
    )


def test_an_unknown_key_of_the_file_is_refused_with_the_file(file: Path) -> None:
    file.write_text("[sample]\ntrain_row = 5\n[sampel]\n[runs]\nseed = 1\n")
    lines = refusal(file).splitlines()
    assert lines[0].startswith(f"{file}: unknown key 'sample.train_row'; did you mean 'train_rows'?")
    assert lines[1].startswith(f"{file}: unknown key 'sampel'; did you mean 'sample'?")
    assert lines[2].startswith(f"{file}: unknown key 'runs'; did you mean 'run'?")


@pytest.mark.parametrize("variable", ["FLTS_SPEC__", "FLTS_SPEC____X", "FLTS_SPEC__SAMPLE__"])
def test_a_variable_that_does_not_name_a_key_is_refused_with_its_name(variable: str) -> None:
    assert refusal(environ={variable: "5"}).startswith(f"environment {variable}: unknown key '")


def test_a_wrong_value_is_refused_with_the_source_it_came_from(file: Path) -> None:
    message = refusal(file, environ={"FLTS_SPEC__SAMPLE__SEED": "-1"}, overrides=["run.threads=0"])
    assert message.splitlines() == [
        "environment FLTS_SPEC__SAMPLE__SEED: sample.seed: Input should be greater than or equal to 0 (found -1)",
        "flag --set run.threads: run.threads: Input should be greater than or equal to 1 (found 0)",
    ]


def test_a_wrong_element_is_refused_with_the_source_of_its_list() -> None:
    message = refusal(overrides=["preprocess.lags=[1, 0]"])
    assert message.startswith("flag --set preprocess.lags: preprocess.lags.1: ")


def test_a_fault_between_values_of_several_sources_names_all_of_them(file: Path) -> None:
    flags = [f"evaluate.weights.{name}=0" for name in ("rmse", "mae", "mse")]
    message = refusal(file, overrides=flags[:2], environ={"FLTS_SPEC__EVALUATE__WEIGHTS__MSE": "0"})
    assert message.startswith(
        "environment FLTS_SPEC__EVALUATE__WEIGHTS__MSE, flag --set evaluate.weights.rmse,"
        " flag --set evaluate.weights.mae: evaluate.weights: the weights sum to zero"
    )


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_refused_with_its_source(file: Path, version: int) -> None:
    flag, variable = "flag --set v", "environment FLTS_SPEC__V"
    with raises(SpecError, code="spec-version", source=flag, found=version):
        load_spec(file, overrides=[f"v={version}"])
    with raises(SpecError, code="spec-version", source=variable, found=version):
        load_spec(file, environ={"FLTS_SPEC__V": str(version)})
    file.write_text(f"v = {version}\n" + file.read_text())
    with raises(SpecError, code="spec-version", source=str(file), found=version):
        load_spec(file)


def test_an_older_file_is_refused_with_the_command_that_upgrades_it(tmp_path: Path) -> None:
    file = tmp_path / "my experiment.toml"
    file.write_text("v = 1\n")
    assert f"`flts config upgrade '{file}'`" in refusal(file)


def test_a_file_without_a_version_is_of_the_current_one(file: Path) -> None:
    assert load_spec(file).spec.v == VERSION


def test_a_value_where_another_source_has_a_table_is_refused(file: Path) -> None:
    assert refusal(file, overrides=["sample=5"]).startswith("flag --set sample: sample: ")


def test_a_table_where_another_source_has_a_value_is_refused_with_both_sources(file: Path) -> None:
    file.write_text("sample = 5\n")
    with raises(SpecError, code="value-or-table", key="sample", source=[str(file), "flag --set sample.seed"]):
        load_spec(file, overrides=["sample.seed=1"])


@pytest.mark.parametrize(
    ("content", "code", "data"),
    [
        (b"sample = ", "not-toml", {}),
        (b"[sample]\n[sample]\n", "not-toml", {}),
        (b'name = "\xff"', "wrong-encoding", {"byte": 8}),
    ],
)
def test_a_file_that_is_not_toml_is_refused_in_one_line(
    file: Path, content: bytes, code: str, data: dict[str, int]
) -> None:
    file.write_bytes(content)
    with raises(SpecError, code=code, file=str(file), **data) as raised:
        load_spec(file)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    with raises(SpecError, code="file-missing", file=str(missing)):
        load_spec(missing)
    with raises(SpecError, code="not-a-file", file=str(tmp_path)):
        load_spec(tmp_path)


def test_source_replaces_the_folder_and_is_relative_to_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    loaded = load_spec(file, overrides=["dataset.source=lost"], source="rows")
    assert loaded.spec.dataset.source == str(tmp_path / "here" / "rows")
    assert loaded.origins["dataset.source"] == "flag --source"
    assert load_spec(file, source="s3://bucket/prefix").spec.dataset.source == "s3://bucket/prefix"


def test_models_keeps_only_the_named_candidates_with_the_values_of_their_tables(file: Path) -> None:
    loaded = load_spec(file, models=["ridge", "gru"])
    assert list(loaded.spec.expected) == ["gru", "ridge"]
    assert loaded.spec.models.gru is not None
    assert loaded.spec.models.gru.epochs == 3
    assert loaded.origins["models"] == "flag --models"


def test_models_that_do_not_name_candidates_are_refused() -> None:
    with raises(SpecError, code="model-unknown", found="grru") as raised:
        load_spec(models=["grru"])
    assert "did you mean 'gru'?" in str(raised.value)
    with raises(SpecError, code="no-models"):
        load_spec(models=[])


def test_models_on_a_file_whose_models_are_not_a_table_blames_the_file(file: Path) -> None:
    file.write_text("models = 3\n")
    assert refusal(file, models=["ridge"]).startswith(f"{file}: models: Input should be a valid dictionary")


def test_all_refusals_of_an_experiment_are_spec_errors_with_exit_code_2(file: Path) -> None:
    with raises(SpecError, code="value-invalid", key=["run.threads"]) as raised:
        load_spec(file, overrides=["run.threads=0"])
    assert raised.value.exit_code == 2
