"""Load for the forecast service, at a rate that does not wait for answers.

Locust's users each wait for their answer, so a service that becomes slow is asked less, and the queue that would form
stays unseen. Here one user keeps a schedule: a request is sent when it is due, whatever became of those before it, and
its response time counts from the moment at which it was due. Scenarios: steady, step, spike and soak.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gevent.pool import Pool
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from locust import User, events, task

AT_ONCE = 512
"""Requests without an answer, beyond which the next one waits, and is late."""
TIMEOUT = 60.0
Rate = Callable[[float], float]
"""The share of the rate at a share of the time, both from 0 to 1."""
SCENARIOS: dict[str, tuple[float, Rate]] = {
    "steady": (60.0, lambda at: 1.0),
    "step": (120.0, lambda at: (1 + int(4 * at)) / 4),
    "spike": (60.0, lambda at: 1.0 if 0.45 <= at < 0.55 else 0.2),
    "soak": (600.0, lambda at: 1.0),
}
"""How many seconds each takes by default, and its shape."""


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    """What to send, and how often; the page of Locust has a field for each."""
    parser.add_argument("--scenario", default="steady", choices=sorted(SCENARIOS), help="steady, step, spike or soak")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second, at the highest")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long; 0 is the time of the scenario")
    parser.add_argument("--rows", default="/etc/flts/jfk-departures_test.csv", help="CSV with the histories to send")
    parser.add_argument("--history", type=int, default=168, help="rows of a history")
    parser.add_argument("--scope", default="jfk", help="whose champion to ask")
    parser.add_argument("--token-file", default="/run/flts/token", help="file with the bearer token; empty for none")


def bodies(file: Path, history: int, scope: str) -> list[bytes]:
    """A request for each row of the file that has so many before it; an empty cell is null."""
    rows = list(csv.DictReader(io.StringIO(text_of(file))))
    if len(rows) < history:
        raise SystemExit(f"{file} has {len(rows)} rows; --history {history} needs as many")
    columns = {name: [_cell(row[name]) for row in rows] for name in rows[0]}
    return [
        json.dumps(
            {"history": {name: cells[end - history : end] for name, cells in columns.items()}, "identifier": scope}
        ).encode()
        for end in range(history, len(rows) + 1)
    ]


def text_of(file: Path) -> str:
    """Its text. Only SystemExit ends Locust: after any other error it would wait for ever, or begin again at once."""
    try:
        return file.read_text()
    except OSError as error:
        raise SystemExit(f"cannot read {file}: {error.strerror}") from None


def _cell(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def due(scenario: str, rate: float, seconds: float) -> Iterator[float]:
    """Seconds from the start at which requests are due."""
    usual, shape = SCENARIOS[scenario]
    whole, at = seconds or usual, 0.0
    while at < whole:
        yield at
        at += 1.0 / (rate * shape(at / whole))


class Schedule(User):  # type: ignore[misc]  # locust has no types
    """One user per process, whatever number is asked for; it sends for many callers."""

    fixed_count = 1

    def on_start(self) -> None:
        """Read the rows and the token, and open the connections as they are needed."""
        chosen = self.environment.parsed_options
        if not 0 < chosen.rate < math.inf or not 0 <= chosen.seconds < math.inf:
            raise SystemExit(
                f"--rate {chosen.rate:g} --seconds {chosen.seconds:g}: a rate is above 0, and seconds are not below"
            )
        self.bodies = bodies(Path(chosen.rows), chosen.history, chosen.scope)
        headers = {"Content-Type": "application/json"}
        if chosen.token_file:
            headers["Authorization"] = f"Bearer {text_of(Path(chosen.token_file)).strip()}"
        place = urlsplit(self.host)
        self.client = HTTPClient(
            place.hostname,
            place.port,
            ssl=place.scheme == "https",
            headers=headers,
            concurrency=AT_ONCE,
            network_timeout=TIMEOUT,
            connection_timeout=TIMEOUT,
        )

    @task
    def keep_the_schedule(self) -> None:
        """Send every request when it is due, wait for the last answers, and end."""
        chosen, asked, started = self.environment.parsed_options, Pool(AT_ONCE), time.monotonic()
        for number, at in enumerate(due(chosen.scenario, chosen.rate, chosen.seconds)):
            when = started + at
            if (wait := when - time.monotonic()) > 0:
                time.sleep(wait)
            asked.spawn(self.ask, self.bodies[number % len(self.bodies)], when)
        asked.join()
        self.environment.runner.quit()

    def ask(self, body: bytes, when: float) -> None:
        """Send one request, and report how long after its moment the answer was there."""
        size, failed = 0, None
        try:
            answer = self.client.post("/predict", body=body)
            size = len(answer.read())
            if answer.status_code != 200:
                failed = RuntimeError(f"status {answer.status_code}")
        except (OSError, HTTPParseError) as error:  # the latter also where the server closes without an answer
            failed = RuntimeError(f"{type(error).__name__}: {error}")
        events.request.fire(
            request_type="POST",
            name="/predict",
            response_time=1000 * (time.monotonic() - when),
            response_length=size,
            exception=failed,
            context={},
        )
