"""Live error is that of plain arithmetic over the logged lines and the rows of truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.answered import Server, put_answers, put_batch
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import chain, contents, copy, fit, promoted, put_log

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DataError, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.live import Live
from flts.preprocess.source import RawFile
from flts.promotion.log import next_entry
from flts.report.live import OTHER_GRID, join, write
from flts.report.predictions import OTHER_TARGET, REPEATED, UNREADABLE
from flts.serve.live import live

SERIES = table(hourly(420)).with_columns(pl.col("time").dt.replace_time_zone("UTC"))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TARGETS = ("load", "wind")
WEIGHTS = {"rmse": 0.5, "mae": 0.3, "mse": 0.2}


@pytest.fixture(scope="module")
def champion() -> Store:
    """A store in which a ridge of two targets is the champion of 'global'."""
    return promoted_store(small_spec(dataset={"name": "small", "targets": list(TARGETS)}))


def promoted_store(spec: Any) -> Store:
    experiment, store = small_experiment(spec)
    bundle = fit(store, experiment).bundle_sha256
    model = promoted("ridge", bundle_sha256=bundle, model_hash=experiment.identity.model_hashes["ridge"])
    put_log(
        store, [next_entry(chain([]), "global", "promote", model, digest("d"), "tests", "2026-01-02T03:04:05+00:00")]
    )
    return store


@pytest.fixture
def server(champion: Store) -> Server:
    """Answers of that champion, in a store of its own."""
    store = memory_store()
    copy(champion, store)
    return Server(store)


def truth_file(folder: Path, frame: pl.DataFrame) -> RawFile:
    file = folder / "truth.csv"
    frame.write_csv(file)
    return RawFile(str(file), file)


def joined(server: Server, folder: Path, frame: pl.DataFrame = SERIES) -> Live:
    return join(server.store, server.scope, truth_file(folder, frame), NOW)


@dataclass
class Plain:
    """Sums of errors in plain Python."""

    errors: list[float]

    @property
    def rmse(self) -> float:
        return math.sqrt(sum(error**2 for error in self.errors) / len(self.errors))

    @property
    def mae(self) -> float:
        return sum(map(abs, self.errors)) / len(self.errors)

    @property
    def score(self) -> float:
        return WEIGHTS["rmse"] * self.rmse + WEIGHTS["mae"] * self.mae + WEIGHTS["mse"] * self.rmse**2


def plain_cells(store: Store, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Every logged cell with its truth and the value a day before its time, in the order of the store."""
    truth = {(row["time"], name): row[name] for row in frame.to_dicts() for name in TARGETS if name in row}
    cells, seen = [], set()
    for key, data in contents(store, "inference-logs/").items():
        if not key.endswith(".jsonl"):
            continue
        for line in map(json.loads, data.splitlines()):
            for step, time in enumerate(map(datetime.fromisoformat, line["times"])):
                for at, target in enumerate(line["targets"]):
                    cell = (line["model_hash"], line["origin"], step, target)
                    if cell in seen or truth.get((time, target)) is None:
                        continue
                    seen.add(cell)
                    cells.append(
                        {
                            "step": step + 1,
                            "target": target,
                            "mean": line["mean"][step][at],
                            "lower": line["lower"][step][at],
                            "upper": line["upper"][step][at],
                            "truth": truth[time, target],
                            "yesterday": truth.get((time - timedelta(days=1), target)),
                        }
                    )
    return cells


def widths(server: Server) -> Mapping[str, float]:
    fitted = server.champion.bundle.model.task.fitted
    return dict(zip(fitted.targets, fitted.target_range[1], strict=True))


def test_the_numbers_are_those_of_plain_arithmetic(server: Server, tmp_path: Path) -> None:
    holes = SERIES.with_columns(load=SERIES["load"].scatter([305, 330], None))
    for end in (301, 304, 317, 330, 360):
        put_answers(server.store, server.ask(SERIES[:end]))
    assert server.champion.bundle.model.task.seasons[0] == 24
    found, cells, width = joined(server, tmp_path, holes), plain_cells(server.store, holes), widths(server)
    assert len(cells) == 5 * 3 * 2 - 2
    scaled = Plain([(cell["mean"] - cell["truth"]) / width[cell["target"]] for cell in cells])
    assert found.errors is not None
    assert found.errors.cells == len(cells)
    assert [found.errors.rmse, found.errors.mae] == pytest.approx([scaled.rmse, scaled.mae])
    for target in TARGETS:
        own = Plain([cell["mean"] - cell["truth"] for cell in cells if cell["target"] == target])
        of_target = found.errors.targets[target]
        assert [of_target.rmse, of_target.mae] == pytest.approx([own.rmse, own.mae])
        assert of_target.scaled_rmse == pytest.approx(own.rmse / width[target])
        assert of_target.cells == len(own.errors)
    for at in found.steps:
        of_step = [cell for cell in cells if cell["step"] == at.step]
        own = Plain([(cell["mean"] - cell["truth"]) / width[cell["target"]] for cell in of_step])
        assert at.errors.cells == len(of_step)
        assert at.errors.rmse == pytest.approx(own.rmse)
    assert [at.step for at in found.steps] == [1, 2, 3]
    inside = [cell["lower"] <= cell["truth"] <= cell["upper"] for cell in cells]
    assert found.coverage.keys() == {"0.8"}
    assert found.coverage["0.8"].coverage == pytest.approx(sum(inside) / len(inside))
    mean_width = np.mean([(cell["upper"] - cell["lower"]) / width[cell["target"]] for cell in cells])
    assert found.coverage["0.8"].width == pytest.approx(float(mean_width))


def test_skill_is_that_against_the_value_a_day_before_on_the_same_cells(server: Server, tmp_path: Path) -> None:
    for end in (301, 317, 333):
        put_answers(server.store, server.ask(SERIES[:end]))
    found, cells, width = joined(server, tmp_path), plain_cells(server.store, SERIES), widths(server)
    own = Plain([(cell["mean"] - cell["truth"]) / width[cell["target"]] for cell in cells])
    naive = Plain([(cell["yesterday"] - cell["truth"]) / width[cell["target"]] for cell in cells])
    assert found.skill is not None
    assert (found.skill.baseline, found.skill.season, found.skill.cells) == ("seasonal_naive", 24, len(cells))
    assert found.skill.score == pytest.approx(own.score)
    assert found.skill.baseline_score == pytest.approx(naive.score)
    assert found.skill.skill == pytest.approx(1 - own.score / naive.score)


def test_an_origin_without_a_season_of_truth_before_it_has_no_baseline_and_n_says_so(
    server: Server, tmp_path: Path
) -> None:
    for end in (310, 330):
        put_answers(server.store, server.ask(SERIES[:end]))
    late = joined(server, tmp_path, SERIES[304:])
    assert late.errors is not None
    assert late.skill is not None
    assert (late.errors.cells, late.skill.cells) == (12, 6)
    none = joined(server, tmp_path, SERIES[320:])
    assert none.skill is not None
    assert (none.skill.skill, none.skill.cells) == (None, 0)
    assert none.skill.reason is not None


def test_without_a_season_the_baseline_is_the_last_value(tmp_path: Path) -> None:
    server = Server(promoted_store(small_spec(task={"input_length": 12, "horizon": 3, "seasons": []})))
    put_answers(server.store, server.ask(SERIES[:310]))
    found = joined(server, tmp_path)
    width, last = widths(server)["load"], SERIES["load"][309]
    naive = Plain([(last - SERIES["load"][row]) / width for row in (310, 311, 312)])
    assert found.skill is not None
    assert (found.skill.baseline, found.skill.season) == ("naive", 1)
    assert found.skill.baseline_score == pytest.approx(naive.score)


def test_a_question_that_is_asked_again_counts_once_and_its_first_answer_counts(server: Server, tmp_path: Path) -> None:
    first = server.ask(SERIES[:310])
    put_answers(server.store, first, first)
    alone = joined(server, tmp_path)
    later = SERIES.with_columns(load=SERIES["load"].scatter(305, 90.0))
    put_answers(server.store, server.ask(later[:310]))
    again = joined(server, tmp_path)
    assert alone.errors == again.errors
    assert (alone.requests, again.requests) == (1, 2)
    assert (alone.left_out, again.left_out) == ({REPEATED: 6}, {REPEATED: 12})


def test_levels_are_covered_each_for_itself_and_errors_count_once(server: Server, tmp_path: Path) -> None:
    put_answers(server.store, server.ask(SERIES[:310], 0.5))
    put_answers(server.store, server.ask(SERIES[:310], 0.95))
    found = joined(server, tmp_path)
    assert found.errors is not None
    assert found.errors.cells == 6
    assert {level: at.cells for level, at in found.coverage.items()} == {"0.5": 6, "0.95": 6}
    assert found.coverage["0.5"].width < found.coverage["0.95"].width


def test_the_lines_of_a_batch_count_as_those_of_requests(server: Server, tmp_path: Path) -> None:
    put_batch(server.store, server, SERIES[:325])
    from_batch = joined(server, tmp_path)
    ends = range(int(server.champion.bundle.manifest.min_history_rows), 326)
    for end in ends:
        put_answers(server.store, server.ask(SERIES[:end]))
    both = joined(server, tmp_path)
    assert both.errors == from_batch.errors
    assert both.left_out == {REPEATED: 6 * len(ends)}
    assert both.requests == 1 + len(ends)


def test_a_batch_and_requests_give_the_same_numbers(server: Server, champion: Store, tmp_path: Path) -> None:
    put_batch(server.store, server, SERIES[280:325])
    other = memory_store()
    copy(champion, other)
    asking = Server(other)
    least = server.champion.bundle.manifest.min_history_rows
    for end in range(280 + least, 326):
        put_answers(other, asking.ask(SERIES[280:end]))
    batch, requests = joined(server, tmp_path), joined(asking, tmp_path)
    assert batch.errors is not None
    assert requests.errors is not None
    assert batch.errors.cells == requests.errors.cells
    assert batch.errors.rmse == pytest.approx(requests.errors.rmse)
    assert batch.coverage["0.8"].coverage == pytest.approx(requests.coverage["0.8"].coverage)


def test_forecasts_without_truth_wait_for_it(server: Server, tmp_path: Path) -> None:
    put_answers(server.store, server.ask(SERIES[:310]))
    part, none = joined(server, tmp_path, SERIES[:311]), joined(server, tmp_path, SERIES[:310])
    assert part.errors is not None
    assert (part.errors.cells, part.awaiting) == (2, 4)
    assert (none.errors, none.awaiting, none.steps, none.coverage, none.models) == (None, 6, [], {}, [])


def test_what_cannot_count_is_named_with_its_number(server: Server, tmp_path: Path) -> None:
    key = put_answers(server.store, server.ask(SERIES[:310]))
    line = json.loads(server.store.get(key) or b"")
    other_target = {**line, "targets": ["load", "rain"]}
    later = [f"{datetime.fromisoformat(time) + timedelta(minutes=7):%Y-%m-%dT%H:%M:%SZ}" for time in line["times"]]
    other_grid = {**line, "times": later, "model_hash": digest("older")}
    lines = [json.dumps(other_target).encode(), json.dumps(other_grid).encode(), b'{"v": 2}', b"\xff"]
    server.store.create(layout.inference_log("global", "20260103", "notes"), b"\n".join(lines))
    server.store.create("inference-logs/global/notes.txt", b"no part")
    found = joined(server, tmp_path)
    assert found.left_out == {OTHER_TARGET: 3, REPEATED: 3, OTHER_GRID: 6, UNREADABLE: 2}


def test_each_model_has_its_own_numbers_and_all_have_one_scale(server: Server, tmp_path: Path) -> None:
    key = put_answers(server.store, server.ask(SERIES[:310]))
    line = json.loads(server.store.get(key) or b"")
    worse = [[value + 10.0 for value in row] for row in line["mean"]]
    other = {**line, "model_hash": digest("other"), "model_type": "GRU", "promotion": 7, "mean": worse}
    server.store.create(layout.inference_log("global", "20990101", "p"), json.dumps(other).encode())
    found = joined(server, tmp_path)
    assert [(model.model_type, model.promotions, model.origins) for model in found.models] == [
        ("RIDGE", [1], 1),
        ("GRU", [7], 1),
    ]
    first, second = found.models
    assert found.errors is not None
    assert first.errors.cells + second.errors.cells == found.errors.cells == 12
    assert found.errors.mse == pytest.approx((first.errors.mse + second.errors.mse) / 2)
    assert first.skill.skill is not None
    assert second.skill.skill is not None
    assert first.skill.skill > second.skill.skill


def test_truth_needs_the_time_and_the_targets_only(server: Server, tmp_path: Path) -> None:
    put_answers(server.store, server.ask(SERIES[:310]))
    shuffled = SERIES.select("wind", "time", "load").sample(fraction=1.0, shuffle=True, seed=0)
    assert joined(server, tmp_path, shuffled).errors == joined(server, tmp_path).errors
    with raises(DataError, code="columns-missing", columns=["wind"]):
        joined(server, tmp_path, SERIES.select("time", "load"))


def test_what_was_read_can_be_read_again(server: Server, tmp_path: Path) -> None:
    first, second = (put_answers(server.store, server.ask(SERIES[:end])) for end in (310, 320))
    found = joined(server, tmp_path)
    ((day, read),) = found.days.items()
    assert first.split("/")[2] == day
    assert read.parts == 2
    assert read.sha256 == digest({key: sha256(server.store.get(key) or b"") for key in (first, second)})
    assert found.truth.sha256 == sha256((tmp_path / "truth.csv").read_bytes())
    assert (found.truth.file, found.truth.rows) == ("truth.csv", 420)


def test_the_result_is_stored_and_replaced(server: Server, tmp_path: Path) -> None:
    assert live(server.store, "global") is None
    put_answers(server.store, server.ask(SERIES[:310]))
    first = joined(server, tmp_path)
    write(server.store, first)
    assert live(server.store, "global") == first
    put_answers(server.store, server.ask(SERIES[:320]))
    second = joined(server, tmp_path)
    write(server.store, second)
    assert live(server.store, "global") == second != first


def test_a_scope_without_forecasts_or_without_a_champion_is_named(server: Server, tmp_path: Path) -> None:
    with raises(UsageError, code="no-predictions", scope="global"):
        joined(server, tmp_path)
    with raises(UsageError, code="no-champion", scope="north", scopes=["global"]):
        join(server.store, "north", truth_file(tmp_path, SERIES), NOW)
