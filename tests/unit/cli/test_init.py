"""`flts init` writes an experiment that runs without edits, and never half of one."""

from __future__ import annotations

import errno
import importlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support import ROOT
from tests.support.series import HOUR, START, hourly, table
from tests.unit.cli.conftest import Flts, Outcome

from flts.explore import suggest
from flts.preprocess.rows import Rows
from flts.spec import sources
from flts.spec.fields import Spec
from flts.spec.sources import load_spec, parse_toml

EXAMPLE = ROOT / "examples/jfk-departures/jfk-departures.csv"


def series(step: int, rows: int, period: int, seed: int = 0) -> Rows:
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(rows) / period) + np.random.default_rng(seed).normal(0, 1, rows)
    return Rows(START + step * np.arange(rows, dtype=np.int64), values[:, None], ("load",))


def jittered() -> pl.DataFrame:
    rows = hourly(600)
    times = rows.times + np.random.default_rng(0).integers(0, HOUR * 3 // 4, 600)
    return table(Rows(times, rows.values, rows.columns))


def business_days() -> pl.DataFrame:
    rows = series(24 * HOUR, 700, 5)
    return table(rows).filter(pl.col("time").dt.weekday() < 6)


def half_empty() -> pl.DataFrame:
    rows = hourly(600)
    rows.values[::2, 0] = np.nan
    rows.values[100:108, 1] = np.nan
    return table(rows)


def spiky() -> pl.DataFrame:
    rows = hourly(600)
    rows.values[[50, 120], 1] = 1e5, 2e5
    return table(rows)


KINDS: dict[str, Callable[[], pl.DataFrame]] = {
    "hours": lambda: table(hourly(600)),
    "two minutes": lambda: table(series(HOUR // 30, 1500, 720)),
    "days": lambda: table(series(24 * HOUR, 500, 7)),
    "weeks": lambda: table(series(168 * HOUR, 200, 52)),
    "seconds with a cycle of their own": lambda: table(series(10**9, 800, 45)),
    "noise": lambda: table(series(HOUR, 300, 10**9)),
    "few rows": lambda: table(hourly(30)),
    "irregular": jittered,
    "business days": business_days,
    "repeated rows": lambda: pl.concat([table(hourly(300)), table(hourly(300))[5:9]]),
    "gaps": lambda: table(hourly(600)).filter(pl.int_range(600) % 40 != 7),
    "half empty": half_empty,
    "lone outliers": spiky,
    "its own time column": lambda: table(hourly(300), "Date Time"),
    "odd names": lambda: table(hourly(300)).rename({"load": 'lo"ad\\ # [x]', "wind": "vent\x7fé"}),
}


def written(flts: Flts, rows: pl.DataFrame, name: str = "kind.csv", *more: str) -> Spec:
    rows.write_csv(name)
    done = flts("init", name, "--output", "first.toml", *more)
    assert done.code == 0, done
    return load_spec(Path("first.toml")).spec


def ridge(flts: Flts) -> Outcome:
    return flts("run", "first.toml", "--models", "ridge", "--json")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_written_experiment_runs_without_edits(flts: Flts, kind: str) -> None:
    written(flts, KINDS[kind]())
    done = ridge(flts)
    assert done.code == 0, done
    assert json.loads(done.out)["decision"]["outcome"] == "promote"


@pytest.mark.slow
def test_the_example_gets_an_experiment_that_runs(flts: Flts, folder: Path) -> None:
    (folder / "deep").mkdir()
    done = flts("init", str(EXAMPLE), "--output", "deep/first.toml", "--timezone", "America/New_York")
    assert done.code == 0, done
    spec = load_spec(folder / "deep/first.toml").spec
    assert spec.dataset.targets == ["departures"]
    assert spec.task.horizon == 24
    assert (folder / "deep" / spec.dataset.source).resolve() == EXAMPLE.parent
    small = ("--set", "sample.train_rows=1000", "--set", "evaluate.windows=20", "--set", "task.input_length=24")
    assert flts("run", "deep/first.toml", "--models", "ridge", *small).code == 0


def test_values_follow_from_the_rows(flts: Flts) -> None:
    spec = written(flts, jittered())
    assert (spec.preprocess.resample, spec.dataset.step) == ("mean", "1h")
    days = written(flts, business_days(), "days.csv", "--force")
    assert (days.preprocess.resample, days.dataset.step) == ("off", "1bd")
    gaps = written(flts, KINDS["gaps"](), "gaps.csv", "--force")
    assert (gaps.preprocess.resample, gaps.dataset.step) == ("off", "infer")
    assert written(flts, spiky(), "spiky.csv", "--force").preprocess.outliers.enabled
    half = written(flts, half_empty(), "empty.csv", "--force")
    assert (half.preprocess.missing.max_gap, half.preprocess.missing.drop_columns_above) == (8, 0.5)
    assert half.task.min_measured == 0.4
    named = written(flts, KINDS["its own time column"](), "named.csv", "--force")
    assert named.dataset.time_column == "Date Time"
    cycle = written(flts, KINDS["seconds with a cycle of their own"](), "cycle.csv", "--force")
    assert cycle.task.seasons == [45]
    regular = written(flts, table(hourly(600)), "hours.csv", "--force")
    assert regular.preprocess == Spec().preprocess
    assert regular.task.min_measured == Spec().task.min_measured
    assert regular.task.seasons == "infer"


def test_all_windows_are_judged_where_no_model_is_slow(flts: Flts) -> None:
    quick = written(flts, KINDS["noise"](), "noise.csv")  # without a season AutoMFLES is left out
    assert quick.models.automfles is None
    assert quick.evaluate.windows == 0
    assert "all 37 test origins" in Path("first.toml").read_text()
    slow = written(flts, table(hourly(600)), "hours.csv", "--force")
    assert slow.models.automfles is not None
    assert slow.evaluate == Spec().evaluate


def test_two_models_get_an_ensemble_and_one_alone_gets_none(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    several = written(flts, table(hourly(600)), "hours.csv")
    assert several.models.ensemble is not None
    monkeypatch.setattr(suggest, "_model", lambda name, *_: suggest.Section(f"models.{name}", left_out=name != "ridge"))
    alone = written(flts, table(hourly(600)), "hours.csv", "--force")
    assert list(alone.expected) == ["ridge"]
    assert "# [models.ensemble]" in Path("first.toml").read_text()


def test_windows_that_an_outage_costs_are_counted(flts: Flts) -> None:
    rows = KINDS["noise"]().filter(~pl.int_range(300).is_between(60, 109))
    written(flts, rows, "outage.csv", "--horizon", "2")
    text = " ".join(Path("first.toml").read_text().split("\n# "))
    assert "(1 outage: the target is empty for longer than a window)" in text


def test_a_zone_whose_clock_the_times_follow_is_written(flts: Flts) -> None:
    utc = pl.datetime_range(pl.datetime(2024, 3, 1), pl.datetime(2024, 4, 20), "1h", time_zone="UTC", eager=True)
    local = utc.dt.convert_time_zone("Europe/Madrid").dt.replace_time_zone(None)
    rows = table(hourly(len(local))).with_columns(time=local)
    assert written(flts, rows).dataset.timezone == "Europe/Berlin"
    text = " ".join(Path("first.toml").read_text().split("\n# "))
    assert "skip the hour after 2024-03-31 02:00:00, as clocks do here and in other zones; name yours" in text
    named = written(flts, rows, "kind.csv", "--force", "--timezone", "Europe/Madrid")
    assert named.dataset.timezone == "Europe/Madrid"


def test_a_test_file_elsewhere_is_named_as_seen_from_the_train_file(flts: Flts, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    rows = table(hourly(400))
    rows[:300].write_csv("a/train.csv")
    rows[300:].write_csv("b/later.csv")
    assert flts("init", "a/train.csv", "b/later.csv", "--output", "first.toml").code == 0
    dataset = load_spec(Path("first.toml")).spec.dataset
    assert (dataset.source, dataset.train_file, dataset.test_file) == ("a", "train.csv", "../b/later.csv")
    assert ridge(flts).code == 0


def test_the_length_of_history_is_measured_on_train_alone(flts: Flts, folder: Path) -> None:
    rows = hourly(500)
    table(rows[:400]).write_csv("load.csv")
    table(rows[400:]).write_csv("load_test.csv")
    flts("init", "load.csv", "--output", "one.toml")
    rows.values[400:] = np.random.default_rng(1).normal(size=(100, 2))
    table(rows[400:]).write_csv("load_test.csv")
    flts("init", "load.csv", "--output", "two.toml")
    one, two = (tomllib.loads((folder / name).read_text())["task"] for name in ("one.toml", "two.toml"))
    assert one == two
    assert "validation windows of train (not test)" in " ".join((folder / "one.toml").read_text().split("\n# "))


def test_a_horizon_and_a_target_can_be_asked_for(flts: Flts) -> None:
    spec = written(flts, table(hourly(600)), "hours.csv", "--horizon", "3", "--target", "wind")
    assert spec.task.horizon == 3
    assert spec.dataset.targets == ["wind"]


def test_a_file_is_replaced_only_by_force(flts: Flts, folder: Path) -> None:
    before = (folder / "flts.toml").read_text()
    done = flts("init", "load.csv")
    assert done.code == 2
    assert "--force" in done.err
    assert (folder / "flts.toml").read_text() == before
    assert flts("init", "load.csv", "--force").code == 0
    assert (folder / "flts.toml").read_text() != before


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_part: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (folder / "flts.toml").read_text()
    monkeypatch.setattr(Path, "replace", full)
    done = flts("init", "load.csv", "--force")
    assert done.code == 2
    assert "flts.toml: cannot be written: No space left on device" in done.err
    assert (folder / "flts.toml").read_text() == before
    assert sorted(path.name for path in folder.iterdir()) == ["flts.toml", "load.csv", "load_test.csv"]


def test_a_file_that_appears_meanwhile_is_not_replaced(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(text: str, file: str) -> dict[str, Any]:
        (folder / "first.toml").write_text("mine")
        return parse_toml(text, file)

    importlib.import_module("flts.api")  # now, so that it does not keep the name that is replaced below

    monkeypatch.setattr(sources, "parse_toml", slowly)
    done = flts("init", "load.csv", "--output", "first.toml")
    assert done.code == 2
    assert "--force" in done.err
    assert (folder / "first.toml").read_text() == "mine"


MISTAKES = {
    "no such file": (["laod.csv"], 4, ["did you mean 'load.csv'"]),
    "no such target": (["load.csv", "--target", "laod"], 4, ["did you mean 'load'"]),
    "a constant target": (["flat.csv", "--target", "flat"], 4, ["flat", "is 1 in every train row"]),
    "several series": (["panel.csv"], 4, ["'shop' distinguishes rows of the same time"]),
    "text": (["text.csv"], 4, ["nothing to forecast", "'oops' in row 1"]),
    "no such folder": (["load.csv", "--output", "nowhere/flts.toml"], 2, ["nowhere"]),
    "no horizon": (["load.csv", "--horizon", "0"], 2, ["--horizon"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message_and_nothing_is_written(flts: Flts, folder: Path, name: str) -> None:
    rows = table(hourly(300))
    rows.with_columns(flat=pl.lit(1.0)).write_csv("flat.csv")
    pl.concat([rows.with_columns(shop=pl.lit(shop)) for shop in "ab"]).write_csv("panel.csv")
    rows.select("time", load=pl.Series(["oops", *map(str, range(299))])).write_csv("text.csv")
    arguments, code, said = MISTAKES[name]
    done = flts("init", *arguments, *(() if "--output" in arguments else ("--output", "first.toml")))
    assert done.code == code, done
    assert "Traceback" not in done.err
    for part in said:
        assert part in done.err
    assert not (folder / "first.toml").exists()
