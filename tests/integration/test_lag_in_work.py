"""The lag by which workers are scaled, on a real broker: it counts a message until the work on it is done.

A scaler that saw no lag while a message is in work would end the worker that has it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.support.asked import ask
from tests.support.experiments import write_experiment
from tests.support.processes import processes
from tests.support.servers import kafka_bus
from tests.support.services import wait_until

from flts.runner.services.registry import groups
from flts.stack.kafka import quick_kafka

pytestmark = pytest.mark.long

POINTS = {"train": "train.windows_result", "evaluate": "promote.log", "forecast": "forecast.log"}
"""By worker, where it stops in the middle of its work; a trainer's is in the process of the fit."""


def test_a_message_counts_from_when_it_is_sent_until_its_work_is_done(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path)
    (tmp_path / "broker").mkdir()
    with quick_kafka(tmp_path / "broker") as broker, closing(kafka_bus(broker)) as bus:
        where = {"FLTS_BUS": broker.url, "FLTS_STORE": (tmp_path / "objects").as_uri()}
        with processes(tmp_path / "logs", where) as running:
            workers = {name: running.worker(name, failpoints=f"{at}.before=stop") for name, at in POINTS.items()}
            assert [bus.lag(group.service.load().topic, group.name) for group in groups(["ridge"])] == [0, 0, 0]
            running.claim(experiment, "--claim-test")
            for worker, group in zip(workers.values(), groups(["ridge"]), strict=True):
                topic = group.service.load().topic
                lag = partial(bus.lag, topic, group.name)
                halted = worker.stopped()
                assert lag() == 1, group.name
                if halted.pid != worker.process.pid:  # the others cannot be asked while they are stopped
                    page = ask(str(worker.events[0]["probes"]), "/metrics")[1]
                    assert f'flts_lag{{group="{group.name}",topic="{topic}"}} 1.0' in page
                    assert "flts_fits_running 1.0" in page
                halted.resume()
                wait_until(partial(_nothing, lag), f"{group.name} to commit")


def _nothing(lag: Callable[[], int]) -> bool:
    return lag() == 0
