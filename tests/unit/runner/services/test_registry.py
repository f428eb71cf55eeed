"""Only the registry names services: a new one is a file and an entry, a new topic a class."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.services import context_on
from typer.testing import CliRunner

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.cli import worker
from flts.contracts import messages
from flts.contracts.messages import TOPICS, Message
from flts.contracts.ports import Record
from flts.doctor import bus as doctor
from flts.runner.services import host, registry
from flts.runner.services.registry import SERVICES, Declared, Group, Staff, groups
from flts.settings import Settings, load_settings
from flts.stack import up
from flts.wiring import RunContext


class Audited(Message):
    """A message that no service of the package knows."""

    topic = "audited"
    key_field = "identifier"
    identity_fields = ("identifier",)


@dataclass
class Auditor:
    """The service `audit`."""

    context: RunContext
    topic = Audited.topic
    group = "audit"
    concurrency = 1

    @classmethod
    def staff(cls, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        return Staff([cls(context)])

    def handle(self, record: Record) -> None:
        """Nothing to do."""

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Nothing to record."""


AUDIT = Declared("audit", "Look at every promotion once more.", "tests_audit:Auditor")


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a service, its entry in the registry, and its message class."""
    module = ModuleType("tests_audit")
    monkeypatch.setattr(module, "Auditor", Auditor, raising=False)
    monkeypatch.setitem(sys.modules, "tests_audit", module)
    monkeypatch.setattr(registry, "SERVICES", (*SERVICES, AUDIT))
    monkeypatch.setitem(TOPICS, Audited.topic, Audited)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_declaration_matches_its_service(service: Declared) -> None:
    context = context_on(memory_store(), MemoryBus())
    models = ["ridge", "gru"] if service.per_model else []
    members = service.load().staff(context, load_settings(), models).members
    assert [member.group for member in members] == [g.name for g in groups(["ridge", "gru"]) if g.service is service]
    assert {member.topic for member in members} == {service.load().topic}
    assert service.load().topic in TOPICS


def test_every_message_class_is_a_topic() -> None:
    classes = [each for each in vars(messages).values() if isinstance(each, type) and issubclass(each, Message)]
    assert set(TOPICS.values()) == set(classes) - {Message}
    assert all(message.topic == topic for topic, message in TOPICS.items())


def test_a_service_is_started_by_the_command_that_the_registry_gives() -> None:
    assert [(group.name, group.start) for group in groups(["ridge"])] == [
        ("train-ridge", "flts worker train --model ridge"),
        ("evaluate", "flts worker evaluate"),
        ("forecast", "flts worker forecast"),
    ]


@pytest.mark.usefixtures("added")
def test_a_new_service_and_its_topic_are_created_examined_and_started_like_all_others(tmp_path: Path) -> None:
    assert {"audited", "DLQ-audited"} <= set(host.all_topics())
    assert Group(AUDIT) in list(groups([]))

    bus = MemoryBus()
    findings = list(doctor.examine(bus, []))
    assert any("audited, DLQ-audited" in finding.found for finding in findings)
    bus.ensure(host.all_topics())
    lacking = {finding.about: finding.mend for finding in doctor.examine(bus, []) if finding.state == "wrong"}
    assert lacking["audit"] == "start `flts worker audit`"
    bus.subscribe([Audited.topic], "audit")
    assert "audit" not in {finding.about for finding in doctor.examine(bus, []) if finding.state == "wrong"}

    shown = CliRunner().invoke(worker.make_app(), ["--help"])
    assert "audit" in shown.output
    assert "Look at every promotion once more." in shown.output

    started = [server.name for server in up._services(tmp_path, {}, ["ridge"])]
    assert "worker-audit" in started


@pytest.mark.usefixtures("added")
def test_the_command_of_a_new_service_runs_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(host, "serve", lambda name, context, staff, *_: served.append((name, list(staff.members))))
    monkeypatch.setenv("FLTS_STORE", "file:///tmp")
    monkeypatch.setenv("FLTS_TRACKING", "off")
    monkeypatch.setattr("flts.wiring.open_bus", lambda settings: Shared())
    monkeypatch.setattr(host, "stop_on_signals", lambda: None)
    done = CliRunner().invoke(worker.make_app(), ["audit"], catch_exceptions=False)
    assert done.exit_code == 0
    ((name, members),) = served
    assert name == "audit"
    assert [type(member) for member in members] == [Auditor]


class Shared(MemoryBus):
    """A bus in memory that passes for a shared one."""

    url = "kafka://tests"
