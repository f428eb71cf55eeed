"""The run of the first system, made again: the figures of examples/seed-report, and what docs/seed.md says of them."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support import ROOT

from flts.comparison.compare import compare
from flts.comparison.sides import Side, read_side
from flts.contracts.canonical import digest
from flts.evaluate.metrics import Yardstick
from flts.evaluate.score import score
from flts.report.evidence import RunManifest
from flts.spec.fields import Weights

FOLDER = ROOT / "examples/seed-report"
PAGE = (ROOT / "docs/seed.md").read_text()
ENVIRONMENTS = ("docker", "kubernetes")
TOLERANCE = 0.05
"""Share of a score by which a fit on other versions, another processor or other kernels may differ."""


def maker() -> ModuleType:
    """examples/seed-report/make_report.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("make_report", FOLDER / "make_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def kept(environment: str) -> Side:
    """The manifest in the folder."""
    side = read_side(str(FOLDER / f"{environment}.json"), lambda where: pytest.fail("a store is opened"))
    assert side.damaged == []
    return side


def seeds_hash(test_rows: int, salt: str) -> str:
    """The configuration hash of the first system."""
    data = {
        "sample_strategy": "head",
        "sample_test_rows": test_rows,
        "sample_train_rows": 50,
        "test_file": "PobleSec_test.csv",
        "train_file": "PobleSec.csv",
    }
    return digest(
        {
            "_data": data,
            "extra": {"hash_salt": salt},
            "handle_nans": {"drop_rows": False, "enabled": True, "knn_neighbors": 2, "threshold": 0.33},
            "lags": {"enabled": False, "n_lags": 0, "step": 1},
            "outliers": {"enabled": False, "factor": 1.5, "method": "iqr"},
            "scaling": {"add_constant": None, "method": "MinMaxScaler"},
            "time_features": {"enabled": True},
        }
    )


def test_the_seeds_own_hashes_say_how_many_test_rows_it_used() -> None:
    """docs/seed.md repeats these."""
    found = {seeds_hash(50, "forceInfer1"), seeds_hash(30, "v2_prophet_fix"), seeds_hash(50, "v2_prophet_fix")}
    assert {text[:8] for text in found} == {"8999be31", "6e59091b", "9a8424a4"}
    for text in found:
        assert text in PAGE


def test_the_two_configurations_of_the_seed_differ_in_one_value_with_an_effect() -> None:
    found = compare([kept(environment) for environment in ENVIRONMENTS])
    assert found.spec is not None
    assert [(row.key, row.values) for row in found.spec] == [("sample.test_rows", [50, 30])]
    models = {"automfles", "gru", "lstm", "prophet", "ridge"}
    assert {*found.spec[0].moves} == {
        "data_hash",
        "windows_hash",
        "config_hash",
        *(f"model_hash({name})" for name in models),
    }
    assert found.verdicts[0].kind == "different-spec"
    assert found.verdicts[0].text == "different Spec: sample.test_rows 50 → 30 (moves every hash)"
    assert [run.windows for run in found.runs] == [40, 20]
    rows = {value.name: value.values for value in found.rows}
    assert (rows["train rows before sampling"], rows["test rows before sampling"]) == (["15,927"] * 2, ["3,982"] * 2)
    assert (rows["train rows"], rows["test rows"]) == (["50"] * 2, ["50", "30"])
    # one model per name is the same in both: train rows, values and seeds are
    equal = {artifact.name for artifact in found.artifacts if not artifact.differs}
    assert {f"validation forecasts of {name}" for name in models} <= equal
    assert {"raw train rows", "raw test rows"} <= equal
    assert "judged on different windows" in " ".join(found.notes)
    assert all(row.seconds.count(None) == 0 for row in found.durations)
    fits = [row for row in found.durations if row.work.startswith("fit of ")]
    assert len(fits) == len(models)
    assert all(side is not None and side.runs == maker().RUNS for row in fits for side in row.repeated)


def test_the_comparison_in_the_folder_is_that_of_its_manifests() -> None:
    assert (FOLDER / "comparison.md").read_text() == maker().comparison()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_claim_of_the_reports_in_the_folder_is_false(environment: str) -> None:
    text = (FOLDER / f"{environment}-report.md").read_text()
    assert kept(environment).record.config_hash in text
    states = re.findall(r"^\| \S (true|false|depends on a false one|unreachable|not recorded) \| `", text, re.MULTILINE)
    assert states.count("true") > 100
    assert {*states} == {"true", "not recorded"}


def test_the_folder_holds_no_rows() -> None:
    for file in FOLDER.iterdir():
        assert file.suffix in {".json", ".md", ".py", ".toml"} or file.is_dir(), file
    for environment in ENVIRONMENTS:
        longest = max(map(len, _lists(json.loads((FOLDER / f"{environment}.json").read_text()))))
        assert longest <= 24  # hours of a day, epochs, calendar columns; never a series


def _lists(value: Any) -> list[list[Any]]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in _lists(part)]
    return [value, *(found for part in value for found in _lists(part))] if isinstance(value, list) else []


def test_the_page_repeats_the_scores_of_the_manifests() -> None:
    shown = re.findall(r"^\| `?(\w+)`? \| ([0-9.]+) \| ([0-9.]+) \|$", PAGE, re.MULTILINE)
    expected = []
    boards = [kept(environment).record.decision for environment in ENVIRONMENTS]
    assert boards[0] is not None
    assert boards[1] is not None
    for row in (*boards[0].ranked, *boards[0].ranked_baselines):
        other = next(o for o in (*boards[1].ranked, *boards[1].ranked_baselines) if o.model == row.model)
        expected.append((row.model, f"{row.score:.4f}", f"{other.score:.4f}"))
    assert shown == expected


def test_the_seeds_winner_was_no_better_than_a_mean_on_the_rows_that_it_had_learned(lte: Path) -> None:
    """It scored its networks on their own training windows, scaled by the range of the 50 rows."""
    down = pl.read_csv(lte / "PobleSec.csv")["down"].to_numpy()[:50].astype(float)
    truth = down[10:].reshape(-1, 1, 1)
    yardstick = Yardstick(("down",), np.array([np.ptp(down)]), None, "unused")
    mean, last = np.full_like(truth, truth.mean()), down[9:-1].reshape(-1, 1, 1)
    scores = [score("", "", truth, forecast, yardstick, Weights()).score for forecast in (mean, last)]
    assert [f"{value:.4f}" for value in scores] == ["0.0320", "0.0211"]
    assert "0.0320" in PAGE
    assert "0.0211" in PAGE


def made_again(environment: str, data: Path, home: Path, models: list[str] | None = None) -> RunManifest:
    record: RunManifest = maker().run(environment, data, home, models=models)
    return record


def assert_repeats(environment: str, again: RunManifest) -> None:
    """Every model of the run is that of the folder: to the byte where it was made on the same, else nearly."""
    before = kept(environment).record
    assert before.decision is not None
    assert again.decision is not None
    assert again.models.keys() <= before.models.keys()
    for name, part in again.models.items():
        assert part.model_hash == before.models[name].model_hash, f"run make_report.py: {name} has another version"
        old, new = before.decision.row(name), again.decision.row(name)
        assert old is not None
        assert new is not None
        assert new.score == pytest.approx(old.score, rel=TOLERANCE)
        if again.results[name].made_on == before.results[name].made_on:
            digests = [
                (row.forecasts_sha256, result.bundle_sha256, result.validation_sha256)
                for row, result in ((old, before.results[name]), (new, again.results[name]))
            ]
            assert digests[0] == digests[1], name


@pytest.mark.slow
def test_ridge_is_made_again(lte: Path, tmp_path: Path) -> None:
    again = made_again("kubernetes", lte, tmp_path / ".flts", ["ridge"])
    assert list(again.models) == ["ridge"]
    assert_repeats("kubernetes", again)


@pytest.mark.long
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_whole_run_is_made_again(environment: str, lte: Path, tmp_path: Path) -> None:
    again = made_again(environment, lte, tmp_path / ".flts")
    assert again.config_hash == kept(environment).record.config_hash
    assert_repeats(environment, again)
    verdict = compare([kept(environment), Side("again", again)]).verdicts[0]
    everything_equal = all(
        again.results[name].made_on == result.made_on for name, result in kept(environment).record.results.items()
    )
    assert verdict.kind == "same-result" or not everything_equal, verdict.text
