"""Load for the forecast service: every user asks for the next day from the last week of the example's test rows."""

from __future__ import annotations

import csv
from pathlib import Path

from locust import HttpUser, between, task

ROWS = Path("/etc/flts/jfk-departures_test.csv")
TOKEN = Path("/run/flts/token")
WEEK = 168
"""Rows of history that the example's models look at."""


def history() -> dict[str, list[str | float | None]]:
    """The newest rows, by column; an empty cell is null."""
    with ROWS.open() as file:
        rows = list(csv.DictReader(file))[-WEEK:]
    return {name: [_cell(name, row[name]) for row in rows] for name in rows[0]}


def _cell(name: str, text: str) -> str | float | None:
    if name == "time":
        return text
    return float(text) if text else None


class Forecaster(HttpUser):
    """Someone who asks for a forecast about once a second."""

    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        """Read the rows and the token once."""
        self.body = {"history": history(), "identifier": "jfk"}
        self.client.headers["Authorization"] = f"Bearer {TOKEN.read_text().strip()}"

    @task
    def predict(self) -> None:
        """Ask the balancer."""
        self.client.post("/predict", json=self.body)
