"""The parts that processes wrote: how long their stage took, and what they had to work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from flts.contracts.errors import DamagedObject
from flts.contracts.records.run import FailurePart, JudgePart, Machine, PreprocessPart, TrainPart
from flts.verification.claims import FALSE, TRUE, Found, absent
from flts.verification.evidence import RunEvidence

SLACK = 1.0
"""Seconds by which two clocks of one machine may differ over a stage."""
StagePart = PreprocessPart | TrainPart | FailurePart | JudgePart


def stage_parts(evidence: RunEvidence) -> Mapping[str, tuple[str, StagePart]]:
    """Key and record of every part that can be read, by the name of its stage or model, in the order of a run."""
    looks = {
        "preprocess": [(evidence.part("preprocess"), PreprocessPart)],
        **{model: evidence.keys_of(model) for model in evidence.models},
        "judge": [(evidence.part("judge"), JudgePart)],
    }
    found: dict[str, tuple[str, StagePart]] = {}
    for name, kinds in looks.items():
        for key, kind in kinds:
            try:
                part = evidence.record(key, kind)
            except DamagedObject:  # the claim about this record says so
                continue
            if isinstance(part, StagePart):
                found.setdefault(name, (key, part))
    return found


def may_use(machine: Machine) -> float:
    """Cores that a process may use at once."""
    return machine.cpus if machine.cpu_limit is None else min(machine.cpus, machine.cpu_limit)


def stage_rows(evidence: RunEvidence) -> list[dict[str, JsonValue]]:
    """Each part as a row of a table: who wrote it where, when, with what versions and limits."""
    return [
        {
            "part": name,
            "host": _host(getattr(part, "deployment", None)),
            "started": part.started,
            "seconds": None if (taken := getattr(part, "duration_ms", None)) is None else taken / 1000,
            **_facts(part.machine),
        }
        for name, (_, part) in stage_parts(evidence).items()
    ]


def _host(deployment: Mapping[str, str] | None) -> str | None:
    """The host, and its node where there is one."""
    names = [deployment[name] for name in ("host", "node") if name in deployment] if deployment else []
    return " on ".join(names) or None


def _facts(machine: Machine | None) -> dict[str, JsonValue]:
    if machine is None:
        return dict.fromkeys(("flts", "python", "libraries", "processor", "cores", "memory_limit"))
    return {
        "flts": machine.flts,
        "python": machine.python,
        "libraries": dict(machine.libraries),
        "processor": machine.processor,
        "cores": may_use(machine),
        "memory_limit": machine.memory_limit,
    }


def seconds_between(first: str, second: str) -> float:
    """From one time to another."""
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def took(key: str, part: PreprocessPart | TrainPart | JudgePart) -> Found:
    """The seconds of a stage, which must fit between its start and its end."""
    if part.started is None or part.duration_ms is None:
        return absent(f"{key} is of an earlier flts, which did not record it")
    between, seconds = seconds_between(part.started, part.ended), part.duration_ms / 1000
    if not 0 <= seconds <= between + SLACK:
        return Found(FALSE, between, seconds, f"{key} has {between:.3f} s from start to end")
    return Found(TRUE, seconds, seconds)
