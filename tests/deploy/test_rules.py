"""The rules of Prometheus: promtool finds every case as it is written, and every alert has what it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from tests.support import ROOT

FOLDER = ROOT / "deploy/monitoring"
RULES: list[Mapping[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
CASES: list[Mapping[str, Any]] = [
    case
    for test in yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]
    for case in test["alert_rule_test"]
]
OF_ABSENCE = {"FltsSeriesAbsent", "FltsLiveErrorAbsent"}
METRIC = re.compile(r"(?<![\w:\"])(flts_\w+|up)\b")
"""The metrics that an expression reads: words outside quotes; flts:… are recorded by these rules."""


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "rules.yml"],
        pytest.param(["test", "rules", "rules.test.yml"], marks=pytest.mark.long),  # half a minute of CPU
    ],
    ids=" ".join,
)
def test_promtool_passes_them(command: list[str]) -> None:
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is neither in PATH nor named by PROMTOOL")
    done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_all_but_the_watchdog_one_in_which_it_does_not() -> None:
    fires = {case["alertname"] for case in CASES if case["exp_alerts"]}
    silent = {case["alertname"] for case in CASES if not case["exp_alerts"]}
    assert fires == set(ALERTS)
    assert silent == set(ALERTS) - {"FltsWatchdog"}


def test_every_series_that_a_rule_reads_has_an_alert_for_its_absence() -> None:
    read = {name for rule in RULES if rule.get("alert") not in OF_ABSENCE for name in METRIC.findall(rule["expr"])}
    absent = [name for alert in OF_ABSENCE for name in re.findall(r"absent\((\w+)", ALERTS[alert]["expr"])]
    named = [name for alert in OF_ABSENCE for name in re.findall(r'"series", "(\w+)"', ALERTS[alert]["expr"])]
    assert sorted(absent) == sorted(named) == sorted(read)


def test_every_alert_has_its_entry_in_the_page_that_its_runbook_names_and_every_entry_its_alert() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^### (Flts\w+)$", page, re.MULTILINE) == list(dict.fromkeys(ALERTS))
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket", "info", "none"}
        entry = page.split(f"### {name}\n")[1].split("\n#")[0]
        assert "First:" in entry or name == "FltsWatchdog", f"{name} does not say what to do first"
