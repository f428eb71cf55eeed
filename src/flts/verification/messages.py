"""Messages on a bus, as evidence: those of one kind that can be read, where they lie, and whether any was deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError
from flts.contracts.messages import Message, ModelTraining, TrainingData
from flts.contracts.ports import Record
from flts.contracts.records.run import MessageRef
from flts.verification.claims import FALSE, Found, absent, recorded
from flts.verification.evidence import RunEvidence

M = TypeVar("M", bound=Message)
NO_BUS = "no broker was named: set FLTS_BUS"
OF_RUN: Sequence[type[TrainingData | ModelTraining]] = (TrainingData, ModelTraining)
"""Messages that name their run."""


def messages(
    evidence: RunEvidence, kind: type[M], ours: Callable[[M], bool], topic: str | None = None
) -> Iterator[tuple[Record, M]]:
    """Those messages of a kind that can be read and are ours. topic: by default that of the kind."""
    for record in evidence.messages(topic or kind.topic):
        message = parsed(kind, record)
        if message is not None and ours(message):
            yield record, message


def parsed(kind: type[M], record: Record) -> M | None:
    try:
        return kind.parse(record.value)
    except DataError:
        return None


def place_of(record: Record | MessageRef) -> str:
    return f"{record.topic} {record.partition}:{record.offset}"


def lies(evidence: RunEvidence, named: MessageRef, kind: type[Message]) -> Found:
    """Whether a message is where a record of the run says that it lies, if that is retained."""
    where = place_of(named)
    lying = {record.offset: record for record in evidence.messages(named.topic) if record.partition == named.partition}
    record = lying.get(named.offset)
    message = parsed(kind, record) if record is not None else None
    if record is not None:
        evidence.note(where, sha256(record.value))
    if message is not None and message.event_id == named.event_id:
        return recorded(where)
    if not any_of_run(evidence):  # a bus of its own, which counts from the beginning
        return absent("this bus holds no message of this run")
    if record is not None:
        found = message.event_id if message else None
        return Found(FALSE, named.event_id, found, f"{where} holds another message")
    if not lying or min(lying) > named.offset:
        return absent(f"{named.topic} no longer holds {where}")
    return Found(FALSE, named.event_id, None, f"{where} is absent, and nothing was deleted from it")


def retained(records: Sequence[Record]) -> bool:
    """Whether a topic still holds its first message in every partition that holds any."""
    first: dict[int, int] = {}
    for record in records:
        first[record.partition] = min(record.offset, first.get(record.partition, record.offset))
    return bool(first) and not any(first.values())


def of_run(evidence: RunEvidence) -> Callable[[TrainingData | ModelTraining], bool]:
    wanted = (evidence.claim.scope, evidence.config_hash, evidence.run)
    return lambda message: (message.identifier, message.config_hash, message.run) == wanted


def claim_id(evidence: RunEvidence) -> str:
    """The event_id of the message that announced the run to the trainers."""
    named = {"config_hash": evidence.config_hash, "run": evidence.run}
    return TrainingData.model_construct(None, identifier=evidence.claim.scope, **named).event_id


def any_of_run(evidence: RunEvidence) -> bool:
    """Whether this bus holds any message of the run: a run in one process announces nothing to others."""
    return any(True for kind in OF_RUN for _ in messages(evidence, kind, of_run(evidence)))
