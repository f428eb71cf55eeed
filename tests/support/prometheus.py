"""A real Prometheus on the rules of FLTS, in a hurry: minutes become seconds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from flts.stack.server import ports
from tests.support import ROOT
from tests.support.services import wait_until

RULES = ROOT / "deploy/monitoring/rules.yml"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FASTER = 360
"""A window of an hour lasts ten seconds."""
LEAST = 5
"""Seconds of the shortest window: it has to hold several scrapes, one a second."""
THRESHOLDS = {
    "flts_run_open_seconds) > 10800": "flts_run_open_seconds) > 60",
    "flts_serve_followed_age_seconds) > 300": "flts_serve_followed_age_seconds) > 10",
    "flts_serve_log_behind_seconds) > 900": "flts_serve_log_behind_seconds) > 5",
}
"""Ages that a test can wait for; those of models and rows can be made."""


def hurried(rules: str) -> str:
    """The rules with shorter windows and waits."""
    for long, short in THRESHOLDS.items():
        assert long in rules, long
        rules = rules.replace(long, short)

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{max(LEAST, int(found[2]) * SECONDS[found[3]] // FASTER)}s"

    return re.sub(r"(\[|offset |for: )(\d+)([smhd])\b", shorter, rules)


@dataclass
class Prometheus:
    """One that runs. targets: those that it reads; it looks again when they change."""

    address: str
    folder: Path
    targets: dict[str, str] = field(default_factory=dict)

    def scrape(self, targets: Mapping[str, str]) -> None:
        """Read these from now on: address by role, each under the job that compose.yaml gives it."""
        self.targets |= targets
        written = self.folder / "targets.new"
        written.write_text(
            json.dumps(
                [
                    {
                        "targets": [address],
                        "labels": {"job": "flts-gateway" if role == "gateway" else "flts", "service": role},
                    }
                    for role, address in self.targets.items()
                ]
            )
        )
        written.replace(self.folder / "targets.json")
        wait_until(lambda: targets.keys() <= self.up().keys(), f"{targets} to be scraped")

    def query(self, expression: str) -> list[Any]:
        """The result of an instant query. Raises where Prometheus refuses the expression."""
        with urlopen(f"http://{self.address}/api/v1/query?{urlencode({'query': expression})}", timeout=30) as answer:
            found: list[Any] = json.loads(answer.read())["data"]["result"]
        return found

    def up(self) -> Mapping[str, str]:
        """By role, 1 for what the last scrape reached."""
        return {row["metric"].get("service", ""): row["value"][1] for row in self.query("up")}

    def fired(self) -> dict[str, list[Mapping[str, str]]]:
        """Every alert that was firing at any time so far, with its labels."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for row in self.query('max_over_time(ALERTS{alertstate="firing"}[1h])'):
            labels = {name: value for name, value in row["metric"].items() if name != "alertstate"}
            found.setdefault(labels.pop("alertname"), []).append(labels)
        return found


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the rules, and no target yet. Skips where it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    folder.mkdir()
    (folder / "rules.yml").write_text(hurried(RULES.read_text()))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
        "rule_files: [rules.yml]\n"
        "scrape_configs:\n"
        "  - job_name: by-file\n"
        "    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n"
    )
    address = f"127.0.0.1:{ports(folder, 'prometheus')['prometheus']}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        one = Prometheus(address, folder)
        wait_until(lambda: _answers(one), "Prometheus to start")
        yield one
    finally:
        process.terminate()
        process.wait(60)


def _answers(one: Prometheus) -> bool:
    try:
        return one.query("vector(1)") != []
    except OSError:
        return False


@contextmanager
def again_and_again(work: Any, pause: float) -> Iterator[None]:
    """Call a function in a thread until the end of the block; what it raises is raised there."""
    stop, raised = threading.Event(), list[BaseException]()

    def loop() -> None:
        while not stop.wait(pause):
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
                raised.append(error)
                return

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if raised:
        raise raised[0]
