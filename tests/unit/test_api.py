"""The Python interface: tables of any kind, the champion, and errors for invalid input."""

from __future__ import annotations

import doctest
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.support.experiments import write_experiment
from tests.support.raising import raises
from tests.support.series import hourly, split, table
from typer.testing import CliRunner

import flts
from flts.cli.main import app
from flts.contracts.errors import DataError, SpecError, UsageError
from flts.home import VERSION
from flts.preprocess.read import read_rows
from flts.runner import local
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


class Recorder:
    """Records the arguments of `local.run`."""

    def __init__(self) -> None:
        self.spec: Any = None
        self.settings: Any = None
        self.options: dict[str, Any] = {}

    def __call__(self, spec: Spec, settings: Settings, reporter: Reporter, **options: Any) -> None:
        self.spec, self.settings, self.options = spec, settings, {"reporter": reporter, **options}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Stands in for `local.run`, so that nothing is run."""
    fake = Recorder()
    monkeypatch.setattr(local, "run", fake)
    return fake


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[flts.RunResult, Settings]:
    """One run on tables; later runs of the same rows reuse it."""
    settings = load_settings(home=tmp_path_factory.mktemp("api") / ".flts", tracking="off")
    return flts.run(VALUES, train=TRAIN, test=TEST, settings=settings), settings


def test_a_run_on_tables_promotes_a_champion_that_forecasts(trained: tuple[flts.RunResult, Settings]) -> None:
    result, settings = trained
    assert (result.winner, result.promoted) == ("ridge", True)
    champion = flts.load_champion(settings=settings)
    assert isinstance(champion, flts.Champion)
    assert champion.forecast(table(hourly(280))).height == 3


def test_a_scope_without_a_champion_raises(trained: tuple[flts.RunResult, Settings]) -> None:
    with raises(UsageError, code="no-champion", scope="north"):
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
def test_rows_are_read_alike_from_every_kind_of_table(recorder: Recorder, settings: Settings, form: str) -> None:
    flts.run(VALUES, train=FORMS[form](TRAIN), test=FORMS[form](TEST), settings=settings)
    tables = recorder.options["tables"]
    for source, name, expected in (
        (tables.train, "train", hourly(300)[:240]),
        (tables.test, "test", hourly(300)[240:]),
    ):
        rows = read_rows(source, recorder.spec.dataset).rows
        assert (source.name, rows.columns) == (name, expected.columns)
        assert rows.times.tolist() == expected.times.tolist()
        assert rows.values.tolist() == expected.values.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_equal_rows_in_another_kind_of_table_reuse_the_run_and_forecast_the_same(
    trained: tuple[flts.RunResult, Settings], form: str
) -> None:
    first, settings = trained
    again = flts.run(VALUES, train=FORMS[form](TRAIN), test=FORMS[form](TEST), settings=settings)
    assert (again.identity, again.reused) == (first.identity, True)
    champion = flts.load_champion(settings=settings)
    assert champion.forecast(FORMS[form](TEST)).equals(champion.forecast(TEST))


@pytest.mark.parametrize(
    ("form", "column"),
    [
        (lambda t: t.rename({"time": "ds"}), "ds"),
        (lambda t: t.rename({"time": "when"}), "when"),
        (lambda t: t.to_pandas().set_index("time").rename_axis("moment"), "moment"),
        (lambda t: t.to_pandas().set_index("time").rename_axis(None), "time"),
        (lambda t: t.with_columns(ds=pl.lit("x")), "time"),
    ],
    ids=["ds", "the only dates", "an index", "an index without a name", "time before ds"],
)
def test_the_times_of_a_table_are_found_where_the_spec_names_no_column(
    recorder: Recorder, settings: Settings, form: Callable[[pl.DataFrame], Any], column: str
) -> None:
    flts.run(VALUES, train=form(TRAIN), settings=settings)
    dataset = recorder.spec.dataset
    assert dataset.time_column == column
    assert read_rows(recorder.options["tables"].train, dataset).rows.times.tolist() == hourly(300)[:240].times.tolist()
    named = {**VALUES, "dataset": {"targets": ["load"], "time_column": "at"}}
    flts.run(named, train=form(TRAIN), settings=settings)
    assert recorder.spec.dataset.time_column == "at"


def test_train_alone_is_split_and_its_last_rows_are_the_test(settings: Settings) -> None:
    whole = table(hourly(300))
    result = flts.run(
        {**VALUES, "dataset": {"targets": ["load"], "test_fraction": 0.25}}, train=whole, settings=settings
    )
    times = hourly(300).times
    windows = result.decision.windows
    assert (windows.first, windows.last) == (int(times[225 - 1]), int(times[300 - 4]))


def test_the_spec_may_be_values_a_spec_or_a_file(recorder: Recorder, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "flts.toml"
    file.write_text('[dataset]\ntargets = ["load"]\n[task]\ninput_length = 12\nhorizon = 3\n[models.ridge]\n')
    specs = []
    for spec in (VALUES, Spec.model_validate(VALUES), file, str(file)):
        flts.run(spec, settings=settings)
        specs.append(recorder.spec)
    assert all(other == specs[0] for other in specs)
    assert recorder.options["folder"] == tmp_path


def test_relative_paths_of_a_spec_in_memory_start_at_the_folder_or_the_working_directory(
    recorder: Recorder, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flts.run(VALUES, settings=settings, folder=tmp_path / "x")
    assert recorder.options["folder"] == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    flts.run(VALUES, settings=settings)
    assert recorder.options["folder"] == tmp_path


def test_the_environment_overrides_values_of_a_file_and_not_values_in_memory(
    recorder: Recorder, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLTS_SPEC__RUN__SEED", "7")
    file = tmp_path / "flts.toml"
    file.write_text('[dataset]\ntargets = ["load"]\n')
    flts.run(file, settings=settings)
    assert recorder.spec.run.seed == 7
    flts.run(VALUES, settings=settings)
    assert recorder.spec.run.seed == 42


def test_without_settings_they_are_read_from_the_environment(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLTS_HOME", str(tmp_path / "elsewhere"))
    flts.run(VALUES)
    assert recorder.settings.home == tmp_path / "elsewhere"


def test_options_are_passed_on_and_are_off_by_default(recorder: Recorder, settings: Settings) -> None:
    flts.run(VALUES, settings=settings)
    assert (recorder.options["recompute"], recorder.options["wait"], recorder.options["tables"]) == (False, False, None)
    reporter = recorder.options["reporter"]
    reporter.stage("train", "running")
    reporter.model("ridge").phase("fit")
    flts.run(VALUES, settings=settings, recompute=True, wait=True, reporter=reporter)
    assert (recorder.options["recompute"], recorder.options["wait"], recorder.options["reporter"]) == (
        True,
        True,
        reporter,
    )


@pytest.mark.parametrize(
    ("tables", "code", "data"),
    [
        ({"train": 42}, "no-table", {"file": "train"}),
        ({"train": TRAIN, "test": 42}, "no-table", {"file": "test"}),
        ({"train": {"time": [1, 2], "load": [1.0]}}, "no-table", {"file": "train"}),
        ({"train": TRAIN.drop("time")}, "time-column-missing", {"file": "train", "column": "time"}),
        ({"train": TRAIN.drop("load")}, "column-missing", {"file": "train", "column": "load"}),
        ({"train": TRAIN, "test": TEST.drop("wind")}, "columns-missing", {"file": "test", "columns": ["wind"]}),
        ({"train": TEST, "test": TRAIN}, "test-overlaps-train", {"file": "test"}),
        ({"train": TRAIN.head(1)}, "too-few-rows", {"file": "train", "found": 1}),
        ({"train": TRAIN.clear()}, "no-rows", {"file": "train"}),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_named(
    settings: Settings, tables: dict[str, Any], code: str, data: dict[str, Any]
) -> None:
    with raises(DataError, code=code, **data):
        flts.run(VALUES, settings=settings, **tables)


@pytest.mark.parametrize(
    ("spec", "tables", "code", "data"),
    [
        (VALUES, {}, "no-data-named", {"key": "dataset.name"}),
        ({**VALUES, "modles": {}}, {"train": TRAIN}, "key-unknown", {"key": ["modles"]}),
        ({"task": {"horizon": 0}}, {"train": TRAIN}, "value-invalid", {"key": ["task.horizon"]}),
        (42, {"train": TRAIN}, "value-invalid", {}),
        ("no/such/flts.toml", {"train": TRAIN}, "file-missing", {"file": "no/such/flts.toml"}),
    ],
)
def test_an_invalid_spec_is_refused_and_its_key_or_file_named(
    settings: Settings, spec: Any, tables: dict[str, Any], code: str, data: dict[str, Any]
) -> None:
    with raises(SpecError, code=code, **data):
        flts.run(spec, settings=settings, **tables)


def test_a_test_table_without_a_train_table_is_refused(settings: Settings) -> None:
    with raises(UsageError, code="train-missing"):
        flts.run(VALUES, test=TEST, settings=settings)


def test_the_folder_of_a_newer_flts_is_not_changed(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "VERSION").write_text(f"{int(VERSION) + 1}\n")
    with raises(UsageError, code="home-format", found=str(int(VERSION) + 1), expected=VERSION):
        flts.run(VALUES, train=TRAIN, test=TEST, settings=settings)
    assert sorted(path.name for path in settings.home.iterdir()) == ["VERSION"]


FUNCTIONS = (
    "compare",
    "forecast",
    "init",
    "inspect",
    "load_champion",
    "load_spec",
    "promote",
    "rollback",
    "run",
    "runs",
    "verify",
)
ON_A_NEW_FOLDER = {"run"}
"""Functions whose examples expect that there is no run yet."""


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, its rows, and two runs of it that both promoted ridge."""
    folder = tmp_path_factory.mktemp("twice")
    file = write_experiment(folder)
    settings = load_settings(home=folder / ".flts", tracking="off")
    for alpha in (1.0, 100.0):
        spec = flts.load_spec(file, overrides=[f"models.ridge.alphas=[{alpha}]", 'evaluate.gate="always"']).spec
        assert flts.run(spec, folder=folder, settings=settings).promoted
    return folder


@pytest.fixture
def here(twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder as the working directory."""
    folder = tmp_path / "here"
    shutil.copytree(twice, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLTS_TRACKING", "off")
    return folder


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_every_public_function_runs(here: Path, name: str) -> None:
    if name in ON_A_NEW_FOLDER:
        shutil.rmtree(here / ".flts")
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(flts, name), name, globs={"flts": flts, "table": table(hourly(280))}
    )
    assert example.examples
    output: list[str] = []
    result = doctest.DocTestRunner().run(example, out=output.append)
    assert result.failed == 0, "".join(output)


def test_every_public_function_has_an_example_above() -> None:
    functions = {name for name in flts.__all__ if not isinstance(getattr(flts, name), type)}
    assert functions == {*FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_result_of_every_public_function_has_a_type(name: str) -> None:
    assert "Any" not in getattr(flts, name).__annotations__["return"]


def printed(*arguments: str) -> Any:
    """The JSON document that a command prints."""
    ended = CliRunner().invoke(app, [*arguments, "--json"])
    return json.loads(ended.stdout)


@pytest.mark.usefixtures("here")
def test_an_inspection_of_a_path_or_of_tables_equals_the_output_of_the_command() -> None:
    report = flts.inspect("load.csv", target="wind")
    assert report.document() == printed("data", "inspect", "load.csv", "--target", "wind")
    train, test = pl.read_csv("load.csv", try_parse_dates=True), pl.read_csv("load_test.csv", try_parse_dates=True)
    tables = flts.inspect(train, test, target="wind")
    assert tables.document() == {**report.document(), "files": tables.document()["files"]}
    alone = flts.inspect(train, target="wind")
    assert (len(alone.inspection.train_rows), len(alone.inspection.test_rows)) == (192, 48)


def test_unusable_rows_are_reported_and_unreadable_ones_raise(here: Path) -> None:
    report = flts.inspect(TRAIN.with_columns(load=pl.lit(1.0), wind=pl.lit(1.0)))
    assert not report.usable
    assert report.findings[0].severity == "stops"
    for source, error, code in (
        ("absent.csv", DataError, "file-missing"),
        ("flts.toml", UsageError, "not-rows"),
        (here, UsageError, "not-a-file"),
        (42, DataError, "no-table"),
    ):
        with raises(error, code=code):
            flts.inspect(source)
    with raises(SpecError, code="value-invalid", key=["dataset.timezone"]):
        flts.inspect(TRAIN, timezone="Mars")


def test_init_writes_the_same_file_as_the_command(here: Path) -> None:
    first = flts.init("load.csv", output="api.toml")
    assert CliRunner().invoke(app, ["init", "load.csv", "--output", "cli.toml"]).exit_code == 0
    assert (here / "api.toml").read_text() == first.text == (here / "cli.toml").read_text()
    before = sorted(path.name for path in here.iterdir())
    assert flts.init("load.csv", "load_test.csv", output=None, target="wind").target == "wind"
    assert sorted(path.name for path in here.iterdir()) == before
    with raises(UsageError, code="file-exists", file="api.toml"):
        flts.init("load.csv", output="api.toml")
    assert flts.init("load.csv", output="api.toml", horizon=2, force=True).spec.task.horizon == 2
    assert flts.load_spec("api.toml").spec.task.horizon == 2


def test_a_forecast_of_a_file_equals_that_of_its_table_and_of_the_command(here: Path) -> None:
    by_path = flts.forecast(here / "load_test.csv", level=0.5)
    assert by_path.equals(flts.forecast(pl.read_csv("load_test.csv", try_parse_dates=True), level=0.5))
    rows = printed("forecast", "--input", "load_test.csv", "--level", "0.5")["forecasts"]
    assert [row["mean"] for row in rows] == by_path["mean"].to_list()
    assert flts.forecast(here / "load_test.csv", level=0.5, horizon=2).equals(by_path[:2])
    with raises(DataError, code="file-missing", file="absent.csv"):
        flts.forecast("absent.csv")
    with raises(UsageError, code="horizon-out-of-range", found=4, expected=3):
        flts.forecast(here / "load_test.csv", horizon=4)
    with raises(UsageError, code="no-champion", scope="north"):
        flts.forecast(TEST, scope="north")


@pytest.mark.usefixtures("here")
def test_runs_and_promotions_equal_those_of_the_command_line() -> None:
    second, first = flts.runs()
    assert [run.model_dump(mode="json", by_alias=True) for run in (second, first)] == printed("runs", "list")
    assert (second.judge and second.judge.promotion, first.judge and first.judge.promotion) == (2, 1)
    assert flts.promote(second.config_hash, "ridge") is None
    by_hand = flts.promote(first.config_hash, "ridge", actor="a person", reason="it fits the season")
    assert by_hand is not None
    assert by_hand.reason == "it fits the season"
    assert flts.load_champion().entry == by_hand
    back = flts.rollback(actor="another")
    log = printed("promotions", "list")
    assert [(e["kind"], e["actor"]) for e in log[:2]] == [("rollback", "another"), ("manual", "a person")]
    assert log[0] == back.model_dump(mode="json")
    assert back.champion.config_hash == second.config_hash


@pytest.mark.usefixtures("here")
def test_an_invalid_promotion_by_hand_is_refused() -> None:
    config_hash = flts.runs()[0].config_hash
    for config, model, scope, code in (
        ("zz", "ridge", "global", "config-unknown"),
        (config_hash, "gru", "global", "no-forecast"),
        (config_hash, "ridge", "north", "not-judged"),
    ):
        with raises(UsageError, code=code):
            flts.promote(config, model, scope)
    with raises(UsageError, code="no-earlier-champion", scope="north"):
        flts.rollback("north")


def test_who_names_another_scope_is_told_which_there_are(here: Path) -> None:
    config_hash = next(run.config_hash for run in flts.runs() if run.judge is not None)
    with raises(UsageError, code="not-judged", scope="north", valid=["global"]) as promoting:
        flts.promote(config_hash, "ridge", "north")
    with raises(UsageError, code="no-earlier-champion") as rolling:
        flts.rollback("north")
    with raises(UsageError, code="no-champion") as forecasting:
        flts.forecast(here / "load_test.csv", scope="north")
    for refused in (promoting, rolling, forecasting):
        assert "global" in str(refused.value)


def test_without_any_run_there_is_nothing_to_list_or_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (flts.runs, flts.rollback, lambda: flts.promote("a", "ridge")):
        with raises(UsageError, code="no-home", folder=".flts"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_inspection_shows_its_findings_and_not_its_rows() -> None:
    report = flts.inspect(TRAIN.with_columns(load=pl.lit(1.0), wind=pl.lit(1.0)))
    lines = repr(report).splitlines()
    assert lines[0] == "<InspectionReport of train: 192 train and 48 test rows, a row each 1h, refused>"
    assert lines[1:] == [f"  {found.severity:<8} {found.message}" for found in report.findings]
