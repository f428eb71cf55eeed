"""Every command on a small experiment, from the first run to a rollback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.unit.cli.conftest import Flts

from flts.contracts import events
from flts.spec.fields import Spec
from flts.version import __version__


def test_a_run_shows_the_board_the_winner_and_where_everything_is(flts: Flts, folder: Path) -> None:
    done = flts("run")
    assert done.code == 0
    assert "ridge is the only model with a forecast" in done.out
    assert "naive (baseline)" in done.out
    assert "coverage (80 %)" in done.out
    assert "lead over the baseline" in done.out
    assert "promoted  ridge is champion of 'global'" in done.out
    assert (folder / ".flts/objects").as_uri() in done.out


@pytest.mark.usefixtures("ran")
def test_a_second_run_changes_nothing_and_says_so(flts: Flts) -> None:
    again = flts("run")
    assert again.code == 0
    assert "ridge is the champion already" in again.out
    assert "unchanged  champion of 'global' stays ridge" in again.out


def test_a_run_prints_one_json_document_and_logs_events_as_json_lines_where_asked(flts: Flts) -> None:
    done = flts("run", "--json", "--log-format", "json")
    result = json.loads(done.out)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert result["decision"]["winner"] == "ridge"
    assert result["promoted"] is True
    names = [event["event"] for event in events]
    assert names[0] == "sampling_applied"
    for name in ("upload_done", "claim_published", "train_start", "train_complete", "promotion_all_models_present"):
        assert name in names
    assert names.index("promotion_scoreboard") < names.index("promotion_decision") < names.index("promotion_publish")


@pytest.mark.usefixtures("ran")
def test_on_a_pipe_every_line_is_for_people_and_ends_without_blanks(flts: Flts) -> None:
    for command in (
        "run",
        "runs list",
        "runs show",
        "promotions list",
        "config show",
        "doctor",
        "data inspect load.csv",
    ):
        done = flts(*command.split())
        assert "{" not in done.err
        assert [line for line in done.out.splitlines() if line != line.rstrip()] == [], command


def test_deploy_logs_events_only_where_asked(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*_: object) -> list[str]:
        events.emit(events.ForecastExpired(scope="load", event_id="1"))
        return []

    monkeypatch.setattr("flts.deploy.prepare.prepare", prepare)
    plain = flts("deploy", "prepare")
    assert (plain.out, plain.err) == ("buckets made: none; all topics exist\n", "")
    [line] = flts("deploy", "prepare", "--log-format", "json").err.splitlines()
    assert json.loads(line)["event"] == "forecast_expired"


@pytest.mark.parametrize("command", ["run", "preprocess"])
def test_a_run_in_an_empty_folder_names_the_command_that_makes_an_experiment(
    flts: Flts, folder: Path, command: str
) -> None:
    (folder / "flts.toml").unlink()
    done = flts(command)
    assert done.code == 2
    assert "`flts init FILE`" in done.err


def test_help_has_a_short_form_everywhere(flts: Flts) -> None:
    for command in ((), ("run",), ("runs", "show"), ("worker", "train")):
        assert flts(*command, "-h").out == flts(*command, "--help").out


def test_a_shell_completes_commands_and_options(folder: Path) -> None:
    for typed, expected in (("flts prom", "promotions"), ("flts run --reco", "--recompute")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_FLTS_COMPLETE": "complete_bash"}
        done = subprocess.run(
            [sys.executable, "-m", "flts"],
            cwd=folder,
            env=os.environ | words,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]


@pytest.mark.usefixtures("ran")
def test_a_recompute_reports_that_the_result_is_equal(flts: Flts) -> None:
    again = flts("run", "--recompute")
    assert again.code == 0
    assert "recomputed ridge: equal" in again.out


@pytest.mark.usefixtures("ran")
def test_a_promotion_can_be_listed_shown_and_rolled_back_and_a_repeated_run_does_not_undo_the_rollback(
    flts: Flts,
) -> None:
    flts("run", "--set", "task.input_length=24", "--set", 'evaluate.gate="always"')
    assert "input_length" not in flts("promotions", "list").out
    entries = json.loads(flts("promotions", "list", "--json").out)
    assert [entry["number"] for entry in entries] == [2, 1]
    assert "promotion 3 (rollback): ridge is champion" in flts("promotions", "rollback").out
    again = flts("run", "--set", "task.input_length=24", "--set", 'evaluate.gate="always"')
    assert "is in the log already and is not applied again" in again.out
    assert len(json.loads(flts("promotions", "list", "--json").out)) == 3
    shown = flts("promotions", "show", "3")
    assert "rollback" in shown.out
    assert "ridge is the only model with a forecast" in shown.out


@pytest.mark.usefixtures("ran")
def test_a_second_rollback_without_an_earlier_champion_is_refused(flts: Flts) -> None:
    refused = flts("promotions", "rollback")
    assert refused.code == 2
    assert "no earlier champion" in refused.err


def test_a_judged_model_can_be_promoted_by_hand(flts: Flts) -> None:
    flts("run", "--set", "evaluate.min_skill=0.99")
    assert json.loads(flts("promotions", "list", "--json").out) == []
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"][:12]
    done = flts("promotions", "promote", config, "ridge")
    assert "promotion 1 (manual): ridge is champion of 'global'" in done.out
    assert "already the champion of 'global'" in flts("promotions", "promote", config, "ridge").out
    wrong = flts("promotions", "promote", config, "rigde")
    assert wrong.code == 2
    assert "did you mean 'ridge'" in wrong.err


def test_every_part_of_a_run_says_in_which_deployment_and_by_what_process_it_was_made(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "release.json").write_text('{"release": "north", "revision": 3}')
    monkeypatch.setenv("FLTS_RELEASE_FILE", "release.json")
    config = json.loads(flts("run", "--json").out)["config_hash"]
    record = json.loads(flts("runs", "show", config, "--json").out)
    parts = [record["claim"], record["judge"], *record["models"].values()]
    assert [(part["deployment"]["release"], part["deployment"]["revision"]) for part in parts] == [("north", "3")] * 3
    for part in (record["preprocess"], record["judge"], *record["models"].values()):
        assert part["machine"]["flts"] == __version__
        assert part["started"] <= part["ended"]
        assert part["duration_ms"] >= 0


@pytest.mark.usefixtures("ran")
def test_who_changes_the_champion_by_hand_and_why_stands_in_the_log(
    flts: Flts, monkeypatch: pytest.MonkeyPatch
) -> None:
    flts("run", "--set", "task.input_length=24", "--set", 'evaluate.gate="always"')
    newest, first = (row["config_hash"][:12] for row in json.loads(flts("runs", "list", "--json").out))
    short = flts("runs", "list", "--limit", "1")
    assert newest in short.out
    assert first not in short.out
    assert short.err == f"older ones: `flts runs list --limit 1 --before {newest}:1`\n"
    older = flts("runs", "list", "--limit", "1", "--before", f"{newest}:1")
    assert first in older.out
    assert (newest in older.out, older.err) == (False, "")
    monkeypatch.setenv("FLTS_ACTOR", "night shift")
    flts("promotions", "rollback", "--reason", "wrong at noon")
    page = flts("promotions", "list", "--limit", "2", "--json")
    assert [entry["number"] for entry in json.loads(page.out)] == [3, 2]
    assert "older ones: `flts promotions list --limit 2 --before 2`\n" in page.err
    rest = flts("promotions", "list", "--limit", "2", "--before", "2", "--json")
    assert [entry["number"] for entry in json.loads(rest.out)] == [1]
    assert "older" not in rest.err
    flts("promotions", "promote", first, "ridge", "--actor", "Ada", "--reason", "checked")
    flts("promotions", "rollback")
    entries = json.loads(flts("promotions", "list", "--json").out)
    said = [(entry["kind"], entry["actor"], entry.get("reason")) for entry in entries if entry["kind"] != "promote"]
    assert ("rollback", "night shift", "wrong at noon") in said
    assert "reason: wrong at noon" in flts("promotions", "show", "3").out
    assert "reason" not in flts("promotions", "show", "1").out


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("left", [None, b"{", b'{"v": 1}'], ids=["lost", "torn", "without fields"])
def test_a_missing_or_damaged_decision_is_named_and_no_message_advises_to_delete_it(
    flts: Flts, folder: Path, left: bytes | None
) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    (decision,) = (folder / ".flts/objects/model-promotion/global/decisions").glob("*[0-9a-f].json")
    decision.unlink()
    if left is not None:
        decision.write_bytes(left)
    for command in (
        ("promotions", "show"),
        ("promotions", "show", "--json"),
        ("runs", "show", config),
        ("runs", "show", config, "--json"),
        ("promotions", "promote", config, "ridge"),
    ):
        done = flts(*command)
        assert done.code == 1, command
        assert f"model-promotion/global/decisions/{decision.name}" in done.err
        assert "restore it from a backup" in done.err
        assert "Traceback" not in done.err
    assert flts("promotions", "list").code == 0
    judged = flts("run")  # how far the windows moved since this decision is part of the next one
    assert judged.code == 1
    assert f"model-promotion/global/decisions/{decision.name}" in judged.err


@pytest.mark.usefixtures("ran")
def test_runs_are_listed_and_shown(flts: Flts, folder: Path) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    assert config[:12] in flts("runs", "list").out
    shown = flts("runs", "show", config[:8])
    assert shown.code == 0
    assert "ridge is the only model with a forecast" in shown.out
    for heading in ("rows 240 train, 60 test", "intervals of the winner", "mean width, scaled", "weekday", "Monday"):
        assert heading in shown.out
    record = json.loads(flts("runs", "show", config[:8], "--json").out)
    assert record["spec"]["task"]["horizon"] == 3
    assert record["models"]["ridge"]["errors"]["rmse"] == record["decision"]["candidates"][0]["rmse"]
    assert record["data"]["train"]["rows"] == 240


@pytest.mark.slow
@pytest.mark.usefixtures("ran")
def test_three_pictures_are_drawn_and_all_of_them_on_demand(flts: Flts, folder: Path) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    plotted = flts("runs", "plot")
    place = f".flts/plots/{config[:12]}"
    assert plotted.out.split() == [f"{place}/{name}.png" for name in ("models", "forecast", "next")]
    every = flts("runs", "plot", config[:8], "--all", "--output", "plots").out.split()
    added = ("error_per_step", "ridge-residuals", "ridge-calibration")
    assert every == [f"plots/{name}.png" for name in ("models", "forecast", "next", *added)]
    assert all((folder / file).read_bytes().startswith(b"\x89PNG") for file in every)
    assert sum((folder / file).stat().st_size for file in every) < 300_000
    unknown = flts("runs", "plot", "--target", "wind")
    assert (unknown.code, "'wind' is not forecast" in unknown.err) == (2, True)


def test_forecasts_are_dated_in_the_zone_of_train_and_a_note_says_what_the_history_lacks(
    flts: Flts, folder: Path
) -> None:
    assert flts("run", "--set", "dataset.timezone=Europe/Madrid").code == 0
    history = pl.read_csv(folder / "load_test.csv")
    history.with_columns(pl.when(pl.int_range(pl.len()) < pl.len() - 2).then("load")).write_csv(folder / "late.csv")
    done = flts("forecast", "--input", "late.csv", "--output", "out.csv")
    assert done.code == 0
    assert "note: late.csv: load is empty in the last 2 rows" in done.err
    first = (folder / "out.csv").read_text().splitlines()[1]
    assert first.startswith("2018-02-19 22:00:00,load,")
    assert first.endswith(",+01:00")
    table = flts("forecast", "--input", "load_test.csv")
    assert ("time (Europe/Madrid)" in table.out, "note" in table.err) == (True, False)


@pytest.mark.usefixtures("ran")
def test_the_champion_forecasts_from_the_end_of_a_file(flts: Flts, folder: Path) -> None:
    table = flts("forecast", "--input", "load_test.csv")
    assert table.code == 0
    assert table.out.count("load") == 3
    answer = json.loads(flts("forecast", "--input", "load_test.csv", "--json", "--level", "0.95").out)
    assert [row["target"] for row in answer["forecasts"]] == ["load"] * 3
    assert all(row["lower"] < row["mean"] < row["upper"] for row in answer["forecasts"])
    assert answer["model"]["promotion"] == 1
    flts("forecast", "--input", "load_test.csv", "--output", "out.csv")
    written = pl.read_csv(folder / "out.csv")
    assert written["mean"].to_list() == pytest.approx([row["mean"] for row in answer["forecasts"]])


@pytest.mark.usefixtures("ran")
def test_a_forecast_takes_as_many_steps_as_it_is_asked_for(flts: Flts) -> None:
    whole, short = (
        json.loads(flts("forecast", "--input", "load_test.csv", "--json", *given).out)["forecasts"]
        for given in ((), ("--horizon", "2"))
    )
    assert (len(whole), short) == (3, whole[:2])
    for horizon in ("0", "4"):
        refused = flts("forecast", "--input", "load_test.csv", "--horizon", horizon)
        assert (refused.code, refused.out) == (2, "")
        assert "ridge forecasts 1 to 3 steps" in refused.err


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(("history", "kind"), [("load_test.csv", "adaptive"), ("load.csv", "static")])
def test_a_forecast_says_on_stderr_and_in_json_which_kind_its_interval_is(flts: Flts, history: str, kind: str) -> None:
    table = flts("forecast", "--input", history)
    said = table.err.splitlines()[-1]
    assert said.startswith(f"interval: {kind}, ")
    assert "interval" not in table.out
    assert json.loads(flts("forecast", "--input", history, "--json").out)["interval"] == kind
    written = flts("forecast", "--input", history, "--output", "out.csv")
    assert written.err.splitlines()[-1] == said


def test_a_forecast_without_an_interval_says_why(flts: Flts) -> None:
    assert flts("run", "--set", "sample.train_rows=40").code == 0
    done = flts("forecast", "--input", "load_test.csv")
    assert done.err.splitlines()[-1] == "interval: none, fewer than 20 validation windows"
    assert json.loads(flts("forecast", "--input", "load_test.csv", "--json").out)["interval"] == "none"


def test_config_show_names_value_origin_and_hash(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_SPEC__RUN__SEED", "7")
    shown = json.loads(flts("config", "show", "--set", "sample.train_rows=100", "--json").out)
    rows = {row["key"]: row for row in shown}
    assert rows["run.seed"] == {
        "key": "run.seed",
        "value": 7,
        "origin": "environment FLTS_SPEC__RUN__SEED",
        "moves": ["model_hash(ridge)", "config_hash"],
        "resolved": 7,
    }
    assert rows["sample.train_rows"]["origin"] == "flag --set sample.train_rows"
    assert rows["sample.train_rows"]["moves"] == ["data_hash", "model_hash(ridge)", "windows_hash", "config_hash"]
    assert rows["task.horizon"]["origin"].endswith("flts.toml")
    assert rows["dataset.source"]["moves"] == []
    assert rows["task.seasons"]["origin"] == "default"
    table = flts("config", "show").out
    assert "run.seed" in table
    assert "nothing" in table


def test_config_schema_describes_every_field(flts: Flts) -> None:
    schema = json.loads(flts("config", "schema").out)
    assert schema == Spec.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    undescribed = [
        name for table in tables for name, field in table["properties"].items() if "description" not in field
    ]
    assert undescribed == []


def test_config_diff_names_the_differences_of_two_experiments(flts: Flts, folder: Path) -> None:
    common = '[dataset]\nname = "PobleSec"\ntargets = ["down"]\n[sample]\ntrain_rows = 50\n'
    (folder / "docker.toml").write_text(common + 'test_rows = 50\n[preprocess]\nhash_salt = "forceInfer1"\n')
    (folder / "kubernetes.toml").write_text(common + 'test_rows = 30\n[preprocess]\nhash_salt = "v2_prophet_fix"\n')
    differing = flts("config", "diff", "docker.toml", "kubernetes.toml", "--json")
    assert differing.code == 1
    rows = {row["key"]: row for row in json.loads(differing.out)}
    assert set(rows) == {"sample.test_rows", "preprocess.hash_salt"}
    assert (rows["sample.test_rows"]["a"], rows["sample.test_rows"]["b"]) == (50, 30)
    assert rows["sample.test_rows"]["moves"][0] == "data_hash"
    same = flts("config", "diff", "docker.toml", "docker.toml")
    assert (same.code, same.out.strip()) == (0, "no difference")


@pytest.mark.usefixtures("ran")
def test_config_diff_with_a_stored_run_lists_no_place_of_the_rows(flts: Flts) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    for names in ((config[:10], "flts.toml"), ("flts.toml", config[:10])):
        same = flts("config", "diff", *names)
        assert (same.code, same.out) == (0, "no difference\n")


@pytest.mark.usefixtures("ran")
def test_config_diff_shows_a_stored_model_that_no_package_provides(flts: Flts, folder: Path) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    specs = folder / ".flts/objects/specs"
    stored = json.loads((specs / f"{config}.json").read_text())
    stored["models"]["gone"] = {"rows": 24}
    (specs / f"{'0' * 64}.json").write_text(json.dumps(stored))
    rows = json.loads(flts("config", "diff", config[:10], "0" * 10, "--json").out)
    assert rows == [{"key": "models.gone.rows", "a": None, "b": 24, "moves": ["model_hash(gone)", "config_hash"]}]
    stored["models"]["ridge"] = {"alpha": 1}
    (specs / f"{'0' * 64}.json").write_text(json.dumps(stored))
    done = flts("config", "diff", config[:10], "0" * 10)
    assert done.error is not None
    assert (done.error.code, done.error.data["fields"]) == ("record-damaged", ["models.ridge.alpha"])


def test_a_reason_with_square_brackets_is_printed_as_it_stands(flts: Flts) -> None:
    done = flts("run", "--set", "evaluate.max_bundle_mb=0.000001")
    assert "none of 1 models is within the limits of [evaluate]" in done.out


def test_without_a_scope_every_command_takes_that_of_the_folder_and_says_so(flts: Flts, ran: Path) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"][:12]
    commands = (
        "forecast --input load_test.csv",
        "promotions list",
        "promotions show",
        f"promotions promote {config} ridge",
    )
    for command in commands:
        done = flts(*command.split())
        assert (done.code, done.err.splitlines()[0]) == (0, "scope: 'global', of flts.toml")
    (ran / "flts.toml").unlink()
    for command in commands:
        done = flts(*command.split())
        assert (done.code, done.err.splitlines()[0]) == (0, "scope: 'global', the only one")
        assert "scope:" not in flts(*command.split(), "--scope", "global").err
    (ran / "flts.toml").write_text('[dataset]\nidentifier = "north"')
    done = flts("forecast", "--input", "load_test.csv")
    assert done.error is not None
    assert (done.error.code, done.error.data["scope"], done.error.data["scopes"]) == (
        "no-champion",
        "north",
        ["global"],
    )


@pytest.mark.usefixtures("ran")
def test_the_newest_run_is_shown_where_none_is_named(flts: Flts) -> None:
    newest = json.loads(flts("runs", "list", "--json").out)[0]
    shown = json.loads(flts("runs", "show", "--json").out)
    assert (shown["config_hash"], shown["run"]) == (newest["config_hash"], newest["run"])


@pytest.mark.usefixtures("ran")
def test_what_is_not_a_scope_is_refused_by_every_command_that_takes_one(flts: Flts) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"][:12]
    commands = ("forecast --input load_test.csv", "promotions list", "promotions show", "promotions rollback")
    for command in commands:
        for scope in ("../x", "North", "current.json", ""):
            done = flts(*command.split(), "--scope", scope)
            assert done.error is not None
            assert (done.code, done.error.code, done.error.data) == (2, "scope-invalid", {"scope": scope})
            assert "Traceback" not in done.err
    done = flts("promotions", "promote", config, "ridge", "--scope", "../x")
    assert (done.code, done.error and done.error.code) == (2, "not-judged")
