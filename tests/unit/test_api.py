"""The Python interface: tables of any kind in, a champion out, wrong inputs refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.support.series import hourly, split, table

import flts
from flts.contracts.errors import DataError, SpecError, UsageError
from flts.home import VERSION
from flts.preprocess.read import read_rows
from flts.runner import local as pipeline
from flts.runner.reporter import Reporter
from flts.settings import Settings, load_settings
from flts.spec.fields import Spec

TRAIN, TEST = split(hourly(300), 60)
VALUES = {
    "dataset": {"targets": ["load"]},
    "task": {"input_length": 12, "horizon": 3},
    "models": {"ridge": {}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / ".flts", tracking="off")


class Asked:
    """What `pipeline.run` was asked to do."""

    def __init__(self) -> None:
        self.spec: Any = None
        self.settings: Any = None
        self.given: dict[str, Any] = {}

    def __call__(self, spec: Spec, settings: Settings, reporter: Reporter, **given: Any) -> None:
        self.spec, self.settings, self.given = spec, settings, {"reporter": reporter, **given}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Nothing is run; what would be is kept."""
    recorder = Asked()
    monkeypatch.setattr(pipeline, "run", recorder)
    return recorder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[flts.RunResult, Settings]:
    """One run on tables; runs of the same rows afterwards only add to its record."""
    settings = load_settings(home=tmp_path_factory.mktemp("api") / ".flts", tracking="off")
    return flts.run(VALUES, train=TRAIN, test=TEST, settings=settings), settings


def test_a_run_on_tables_promotes_a_champion_that_forecasts(trained: tuple[flts.RunResult, Settings]) -> None:
    result, settings = trained
    assert (result.winner, result.promoted) == ("ridge", True)
    champion = flts.load_champion(settings=settings)
    assert isinstance(champion, flts.Champion)
    assert champion.forecast(table(hourly(280))).height == 3


def test_a_scope_without_a_champion_is_named(trained: tuple[flts.RunResult, Settings]) -> None:
    with pytest.raises(UsageError, match="nothing was promoted in scope 'north'"):
        flts.load_champion("north", settings=trained[1])


FORMS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda t: t,
    "pandas": lambda t: t.to_pandas(),
    "pandas with the time as index": lambda t: t.to_pandas().set_index("time"),
    "Arrow": lambda t: t.to_arrow(),
    "a dictionary of lists": lambda t: t.to_dict(as_series=False),
    "a dictionary of arrays": lambda t: {name: t[name].to_numpy() for name in t.columns},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_the_same_rows_are_read_in_whatever_form_they_come(asked: Asked, settings: Settings, form: str) -> None:
    flts.run(VALUES, train=FORMS[form](TRAIN), test=FORMS[form](TEST), settings=settings)
    tables = asked.given["tables"]
    for given, name, expected in ((tables.train, "train", hourly(300)[:240]), (tables.test, "test", hourly(300)[240:])):
        rows = read_rows(given, asked.spec.dataset).rows
        assert (given.name, rows.columns) == (name, expected.columns)
        assert rows.times.tolist() == expected.times.tolist()
        assert rows.values.tolist() == expected.values.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_a_run_knows_the_same_rows_again_in_whatever_form_they_come_and_forecasts_the_same(
    trained: tuple[flts.RunResult, Settings], form: str
) -> None:
    first, settings = trained
    again = flts.run(VALUES, train=FORMS[form](TRAIN), test=FORMS[form](TEST), settings=settings)
    assert (again.identity, again.reused) == (first.identity, True)
    champion = flts.load_champion(settings=settings)
    assert champion.forecast(FORMS[form](TEST)).equals(champion.forecast(TEST))


def test_train_alone_is_split_and_its_last_rows_are_the_test(settings: Settings) -> None:
    whole = table(hourly(300))
    result = flts.run(
        {**VALUES, "dataset": {"targets": ["load"], "test_fraction": 0.25}}, train=whole, settings=settings
    )
    times = hourly(300).times
    windows = result.decision.windows
    assert (windows.first, windows.last) == (int(times[225 + 11]), int(times[300 - 4]))


def test_the_spec_may_be_values_a_spec_or_a_file(asked: Asked, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "flts.toml"
    file.write_text('[dataset]\ntargets = ["load"]\n[task]\ninput_length = 12\nhorizon = 3\n[models.ridge]\n')
    specs = []
    for given in (VALUES, Spec.model_validate(VALUES), file, str(file)):
        flts.run(given, settings=settings)
        specs.append(asked.spec)
    assert all(spec == specs[0] for spec in specs)
    assert asked.given["folder"] == tmp_path


def test_paths_of_a_spec_in_memory_start_at_the_given_folder_or_the_working_directory(
    asked: Asked, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flts.run(VALUES, settings=settings, folder=tmp_path / "x")
    assert asked.given["folder"] == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    flts.run(VALUES, settings=settings)
    assert asked.given["folder"] == tmp_path


def test_a_file_takes_values_from_the_environment_and_values_in_memory_do_not(
    asked: Asked, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLTS_SPEC__RUN__SEED", "7")
    file = tmp_path / "flts.toml"
    file.write_text('[dataset]\ntargets = ["load"]\n')
    flts.run(file, settings=settings)
    assert asked.spec.run.seed == 7
    flts.run(VALUES, settings=settings)
    assert asked.spec.run.seed == 42


def test_without_settings_they_are_read_from_the_environment(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLTS_HOME", str(tmp_path / "elsewhere"))
    flts.run(VALUES)
    assert asked.settings.home == tmp_path / "elsewhere"


def test_switches_reach_the_pipeline_and_are_off_unless_they_are_set(asked: Asked, settings: Settings) -> None:
    flts.run(VALUES, settings=settings)
    assert (asked.given["recompute"], asked.given["wait"], asked.given["tables"]) == (False, False, None)
    reporter = asked.given["reporter"]
    reporter.stage("train", "running")
    reporter.model("ridge").phase("fit")
    flts.run(VALUES, settings=settings, recompute=True, wait=True, reporter=reporter)
    assert (asked.given["recompute"], asked.given["wait"], asked.given["reporter"]) == (True, True, reporter)


@pytest.mark.parametrize(
    ("spec", "given", "error", "said"),
    [
        (VALUES, {"test": TEST}, UsageError, "test is given and train is not; give both, or train alone"),
        (VALUES, {"train": 42}, DataError, "train: a int is no table of columns"),
        (VALUES, {"train": TRAIN, "test": 42}, DataError, "test: a int is no table of columns"),
        (VALUES, {"train": TRAIN.drop("time")}, DataError, "train: has no time column 'time'"),
        (VALUES, {"train": TRAIN.drop("load")}, DataError, "train: has no column 'load' to forecast"),
        (VALUES, {"train": TRAIN, "test": TEST.drop("wind")}, DataError, "test: lacks the numeric columns wind"),
        (VALUES, {"train": TEST, "test": TRAIN}, DataError, "test rows must be later than all train rows"),
        (VALUES, {"train": TRAIN.head(1)}, DataError, "train: 1 rows cannot be split"),
        (VALUES, {"train": TRAIN.clear()}, DataError, "train: has no rows"),
        (VALUES, {"train": {"time": [1, 2], "load": [1.0]}}, DataError, "train: a dict is no table of columns"),
        (VALUES, {}, SpecError, "the Spec names no data"),
        ({**VALUES, "modles": {}}, {"train": TRAIN}, SpecError, "unknown key 'modles'; did you mean 'models'?"),
        ({"task": {"horizon": 0}}, {"train": TRAIN}, SpecError, "task.horizon"),
        (42, {"train": TRAIN}, SpecError, "valid dictionary"),
        ("no/such/flts.toml", {"train": TRAIN}, SpecError, "no/such/flts.toml: no such file"),
    ],
)
def test_a_wrong_input_is_refused_by_what_is_wrong_with_it(
    settings: Settings, spec: Any, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        flts.run(spec, settings=settings, **given)
    assert said in str(caught.value)


def test_a_folder_of_a_newer_flts_is_left_alone(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "VERSION").write_text(f"{int(VERSION) + 1}\n")
    with pytest.raises(UsageError, match="has the newer format"):
        flts.run(VALUES, train=TRAIN, test=TEST, settings=settings)
    assert sorted(path.name for path in settings.home.iterdir()) == ["VERSION"]
