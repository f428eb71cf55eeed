"""The messages of a run: each one matched with its effect in the store, from the claim to the promotion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.messages import DEAD_LETTERS, ModelSelected, ModelTraining, TrainingData
from flts.contracts.ports import experiment_of
from flts.contracts.records.run import MessageRef, SentMessage, TrainPart
from flts.promotion.relay import selected
from flts.spec.models import ENSEMBLE
from flts.verification.batches import batches
from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded
from flts.verification.evidence import RunEvidence
from flts.verification.messages import (
    NO_BUS,
    OF_RUN,
    M,
    any_of_run,
    claim_id,
    lies,
    messages,
    of_run,
    place_of,
    retained,
)

TOLD_LATER = frozenset({"bundle_sha256", "forecasts_sha256"})
"""Fields that a message may leave out: whoever sends it again does not know them."""


def chain(evidence: RunEvidence) -> SectionChecks:
    """Claims about the messages, in the order in which they are sent."""
    due = evidence.outside.bus is not None
    checks = [
        Check("chain.training-data", "The claim was announced once to the trainers", _claim, due=due),
        *(
            Check(f"chain.{model}.message", f"{model} was made for a message of this run", _made_from(model), due=due)
            for model in evidence.models
        ),
        *(
            Check(
                f"chain.{model}.model-training", f"The end of {model} was announced as recorded", _ended(model), due=due
            )
            for model in evidence.models
        ),
        Check("chain.judge.message", "The judge was called by the end of a model of this run", _called_by, due=due),
        Check("chain.model-selected", "The promotion of this run was announced as the log has it", _selected, due=due),
        *batches(due=due),
        Check("chain.dead-letters", "No message of this run is in a dead-letter topic", _dead_letters, due=due),
    ]
    return SectionChecks("chain", "Event chain", checks)


def witness(evidence: RunEvidence) -> Check:
    """The messages as a witness of the log: whoever rewrites the store cannot rewrite what was announced."""
    return Check(
        "promotion.witness.message",
        "Every announced promotion is in the log as it was announced",
        _witnessed,
        (layout.log(evidence.scope),),
        due=evidence.outside.bus is not None,
    )


def _claim(evidence: RunEvidence) -> Found:
    claim, prepared = evidence.claim, evidence.prepared
    if prepared is None:
        return absent("the rows of this run were not recorded")
    meta, key = evidence.meta, layout.meta(claim.data_hash)
    bucket, _, object_key = key.partition("/")
    effect = {
        "data_hash": claim.data_hash,
        "bucket": bucket,
        "object_key": object_key,
        "size": len(evidence.get(key) or b""),
        "sha256": prepared.meta_sha256,
        "row_count": meta.train.rows,
        "spec_key": layout.spec(evidence.config_hash),
    }
    sent = _sent(evidence, claim_id(evidence))
    return _matched(evidence, TrainingData, of_run(evidence), effect, evidence.part("preprocess"), sent)


def _ended(model: str) -> Callable[[RunEvidence], Found]:
    def look(evidence: RunEvidence) -> Found:
        part = evidence.trained(model) or evidence.failed(model)
        if part is None:
            return absent(f"the run holds neither a result nor a failure of {model}")
        effect: dict[str, Any] = {
            "data_hash": evidence.claim.data_hash,
            "run_id": part.run_id,
            "model_type": model.upper(),
            "experiment": experiment_of(evidence.claim.scope),
        }
        if isinstance(part, TrainPart):
            effect |= {"status": "SUCCESS", "model_hash": part.model_hash, "duration_ms": part.duration_ms}
            effect |= {"error": None}
            told = {"bundle_sha256": part.bundle_sha256, "forecasts_sha256": part.forecasts_sha256}
            effect |= {name: value for name, value in told.items() if value is not None}
        else:
            effect |= {"status": "FAILED", "error": f"{part.error}: {part.reason}"}

        def ours(message: ModelTraining) -> bool:
            return of_run(evidence)(message) and message.model == model and message.status != "RUNNING"

        model_hash = part.model_hash or evidence.identity.model_hashes.get(model)
        sent = _sent(evidence, _end(evidence, evidence.run, model_hash, effect["status"])) if model_hash else None
        return _matched(evidence, ModelTraining, ours, effect, evidence.part(f"train-{model}"), sent)

    return look


def _made_from(model: str) -> Callable[[RunEvidence], Found]:
    def look(evidence: RunEvidence) -> Found:
        part = evidence.trained(model) or evidence.failed(model)
        message = part.message if part else None
        if model == ENSEMBLE:  # made by whoever judges
            return _came_from(evidence, message, ModelTraining, _ends)
        return _came_from(evidence, message, TrainingData, _claims)

    return look


def _claims(evidence: RunEvidence) -> Iterator[str]:
    yield claim_id(evidence)


def _called_by(evidence: RunEvidence) -> Found:
    judged = evidence.judged
    return _came_from(evidence, judged.message if judged else None, ModelTraining, _ends)


def _ends(evidence: RunEvidence) -> Iterator[str]:
    """A late end of an earlier run of this experiment calls the judge, too, and so does an ensemble's own message."""
    made = (evidence.model_hash(model) for model in evidence.models)
    hashes = sorted({*evidence.identity.model_hashes.values(), *filter(None, made)})
    for run, model_hash, status in product(range(evidence.run, 0, -1), hashes, ("SUCCESS", "FAILED")):
        yield _end(evidence, run, model_hash, status)


def _end(evidence: RunEvidence, run: int, model_hash: str, status: str) -> str:
    """The event_id of the end of a model."""
    of_model = {"config_hash": evidence.config_hash, "model_hash": model_hash, "run": run, "status": status}
    return ModelTraining.model_construct(None, identifier=evidence.claim.scope, **of_model).event_id


def _sent(evidence: RunEvidence, event_id: str) -> SentMessage | None:
    """Where a message about this run lies, as its sender recorded it."""
    return evidence.record(layout.sent(evidence.config_hash, evidence.run, event_id), SentMessage)


def _came_from(
    evidence: RunEvidence,
    named: MessageRef | None,
    kind: type[TrainingData | ModelTraining],
    possible: Callable[[RunEvidence], Iterator[str]],
) -> Found:
    """Whether the message that a part names is one of these, and lies where the part says, if that is retained."""
    if named is None:
        return absent("no message is recorded: there was no broker, or an earlier flts")
    if named.topic != kind.topic or named.event_id not in possible(evidence):
        reason = f"{place_of(named)} is recorded, and its event_id is that of no such message"
        return Found(FALSE, named.event_id, None, reason)
    return recorded(place_of(named)) if evidence.outside.bus is None else lies(evidence, named, kind)


def _selected(evidence: RunEvidence) -> Found:
    entry = evidence.entry
    if entry is None:
        return absent("this run promoted nothing")
    wanted = selected(evidence.log, entry)
    effect = {name: getattr(wanted, name) for name in type(wanted).model_fields if name not in {"v", "ts", "replaces"}}

    def ours(message: ModelSelected) -> bool:
        return (message.scope, message.promotion, message.decision_id) == (entry.scope, entry.number, entry.decision_id)

    judged = evidence.judged
    where, sent = layout.log_entry(entry.scope, entry.number), judged.announced if judged else None
    return _matched(evidence, ModelSelected, ours, effect, where, sent)


def _dead_letters(evidence: RunEvidence) -> Found:
    if evidence.outside.bus is None:
        return absent(NO_BUS)
    dead = []
    for kind in OF_RUN:
        for record, _ in messages(evidence, kind, of_run(evidence), f"{DEAD_LETTERS}{kind.topic}"):
            dead.append(place_of(record))
            evidence.note(place_of(record), sha256(record.value))
    if dead:
        return Found(FALSE, 0, len(dead), f"{', '.join(dead)} could not be handled; `flts dlq show` says why")
    return recorded(0) if any_of_run(evidence) else absent("this bus holds no message of this run")


def _witnessed(evidence: RunEvidence) -> Found:
    if evidence.outside.bus is None:
        return absent(NO_BUS)
    log, scope = evidence.log, evidence.claim.scope
    announced = _announced(evidence, scope)
    for message in announced:
        number = message.promotion
        key = layout.log_entry(scope, number)
        found = log.digest(number) if number <= len(log.entries) else None
        if message.entry_sha256 is not None and message.entry_sha256 != found:
            what = "is another entry than" if found else "is absent, and it is"
            reason = f"{key} {what} the one that {ModelSelected.topic} announced"
            return Found(FALSE, message.entry_sha256, found, reason)
    numbers = {message.promotion for message in announced}
    return recorded(len(numbers)) if numbers else absent(f"{ModelSelected.topic} holds no message of this scope")


def _announced(evidence: RunEvidence, scope: str) -> Sequence[ModelSelected]:
    """The messages that no later one took back, by number; one that fits hides none that does not."""
    found: list[ModelSelected] = []
    for record, message in messages(evidence, ModelSelected, lambda message: message.scope == scope):
        evidence.note(place_of(record), sha256(record.value))
        if message.replaces is not None:  # a person shortened the log: what was announced from there on is void
            back = next((one.promotion for one in found if one.event_id == message.replaces), message.promotion)
            found = [one for one in found if one.promotion < min(back, message.promotion)]
        found.append(message)
    return sorted(found, key=lambda message: message.promotion)


def _matched(
    evidence: RunEvidence,
    kind: type[M],
    ours: Callable[[M], bool],
    effect: Mapping[str, Any],
    where: str,
    sent: MessageRef | None,
) -> Found:
    """How often the message was sent; false where one says something else than its effect, or where none is left.

    sent: where its sender recorded that it lies.
    """
    if sent is not None and sent.topic != kind.topic:
        return Found(FALSE, kind.topic, sent.topic, f"{place_of(sent)} is recorded, and the message has another topic")
    if evidence.outside.bus is None:
        return absent(NO_BUS)
    count = 0
    for record, message in messages(evidence, kind, ours):
        evidence.note(place_of(record), sha256(record.value))
        count += 1
        for field, expected in effect.items():
            found = getattr(message, field)
            if found != expected and (found is not None or field not in TOLD_LATER):
                return Found(FALSE, expected, found, f"{place_of(record)} names another {field} than {where}")
    lying = None if sent is None else lies(evidence, sent, kind)
    if lying is not None and lying.state == FALSE:
        return lying
    if count:
        return recorded(count)
    if not any_of_run(evidence):
        return absent("this bus holds no message of this run")
    if not retained(evidence.messages(kind.topic)):
        return absent(f"{kind.topic} no longer holds the messages of that time")
    return Found(FALSE, 1, 0, f"{kind.topic} holds no message about {where}, and nothing was deleted from it")
