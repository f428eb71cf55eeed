"""`flts verify` as people see it: a report in files, a summary, and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts

from flts.verification.write.folder import FILES

RIDGE = "train.ridge.rmse"


@pytest.fixture
def ran(flts: Flts) -> Flts:
    """After one run."""
    assert flts("run").code == 0
    return flts


def test_a_healthy_run_is_verified_and_a_damaged_one_is_not(ran: Flts, folder: Path) -> None:
    done = ran("verify")
    assert done.code == 0
    reports = [Path(line) for line in done.out.splitlines() if line.startswith(".flts/reports/")]
    assert [file.name for file in reports] == [*FILES]
    assert all(file.is_file() for file in reports)
    (rows,) = (folder / ".flts/objects/processed-data").glob("*/test.parquet")
    rows.write_bytes(rows.read_bytes() + b" ")
    damaged = ran("verify", "--output", "here")
    assert damaged.code == 1
    assert "test.parquet was changed" in damaged.out
    assert json.loads((folder / "here/report.json").read_text())["claims"]
    alone = ran("verify", "--claim", RIDGE)
    assert alone.code == 1
    assert f"depends on a false one  {RIDGE}" in alone.out


def test_one_claim_is_checked_alone_and_writes_nothing(ran: Flts, folder: Path) -> None:
    done = ran("verify", "--claim", RIDGE)
    assert done.code == 0
    assert f"true  {RIDGE}" in done.out
    assert "evaluation" not in done.out
    assert not (folder / ".flts/reports").exists()


def test_the_report_is_one_json_document(ran: Flts) -> None:
    done = ran("verify", "--json")
    report = json.loads(done.out)
    assert {claim["state"] for claim in report["claims"]} == {"true", "not recorded"}
    config_hash, run = report["config_hash"], report["run"]
    again = ran("verify", config_hash[:12], "--run", str(run), "--scope", "global", "--json")
    assert json.loads(again.out) == report


def test_what_must_be_recorded_decides_the_exit_code(ran: Flts) -> None:
    assert ran("verify", "--require", "train", "--require", "promotion.log").code == 0
    lacking = ran("verify", "--require", "chain")
    assert lacking.code == 1
    assert "required and not recorded: chain.training-data" in lacking.out


def test_a_run_beside_itself_shows_nothing_and_a_damaged_claim_is_reported(ran: Flts, folder: Path) -> None:
    (claim,) = (folder / ".flts/objects/runs").glob("*/0001/claim.json")
    config = claim.parts[-3][:12]
    beside = ran("verify", "--compare", config)
    assert beside.code == 0
    assert "Environments 2 true, 1 not recorded" in beside.out
    claim.write_bytes(claim.read_bytes()[:-1])
    damaged = ran("verify", config)
    assert damaged.code == 1
    assert "claim.json in the store is damaged" in damaged.out


MISTAKES = {
    "verify --scope other": "no-runs",
    "verify --run 2": "config-missing",
    "verify 0123456789": "config-unknown",
    "verify --claim nothing": "claim-unknown",
    "verify --expect absent.toml": "expectations-invalid",
    "verify --pods absent.json": "file-unreadable",
    "verify --log flts.toml": "log-empty",
    "verify --compare absent.json": "file-unreadable",
    "verify --expect-head 2473efac": "digest-invalid",
    "verify --output flts.toml": "folder-invalid",
}


def test_a_mistake_has_a_code(ran: Flts) -> None:
    for command, code in MISTAKES.items():
        done = ran(*command.split())
        assert done.error is not None, command
        assert (done.error.code, done.code) == (code, 2), command
