"""Checks whether everything that services stored and sent keeps their guarantees, without knowing how it came about.

It shares only the types of messages and log entries with the services, so that both cannot have the same defect.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, ModelSelected, PerformanceEval, TrainingData
from flts.contracts.ports import Record
from flts.contracts.records.log import LogEntry

DEAD = "DLQ-"
Scope = str


@dataclass(frozen=True)
class History:
    """Everything stored and sent when all services are idle.

    claimed: acknowledged claims of runs; asked: acknowledged requests for a batch.
    """

    objects: Mapping[str, bytes]
    topics: Mapping[str, Sequence[Record]]
    claimed: Sequence[TrainingData]
    asked: Sequence[InferenceData]

    @cached_property
    def logs(self) -> Mapping[Scope, Sequence[tuple[str, bytes]]]:
        """Names and bytes of the entries of each scope."""
        found: dict[Scope, list[tuple[str, bytes]]] = defaultdict(list)
        for key in sorted(self.objects):
            match key.split("/"):
                case ["model-promotion", scope, "log", name]:
                    found[scope].append((name, self.objects[key]))
        return found

    def entries(self, scope: Scope) -> dict[int, LogEntry]:
        """The entries of a scope by number."""
        found = [LogEntry.model_validate_json(data) for _, data in self.logs.get(scope, ())]
        return {entry.number: entry for entry in found}

    def json(self, key: str) -> dict[str, Any] | None:
        """A stored object, None when it is absent."""
        data = self.objects.get(key)
        value: dict[str, Any] | None = None if data is None else json.loads(data)
        return value

    def told(self, topic: str) -> list[bytes]:
        """The messages of a topic."""
        return [record.value for record in self.topics.get(topic, ())]


def faults(history: History) -> list[str]:
    """Every broken guarantee as a sentence; none when all is well."""
    checks = (_artifacts, _logs, _promotions, _runs, _pointers, _selected, _answered, _served, _lines, _letters)
    return [fault for check in checks for fault in check(history)]


def _logs(history: History) -> Iterator[str]:
    """Numbers without a gap, each entry chained to the one before it."""
    for scope, entries in history.logs.items():
        previous: str | None = None
        for number, (name, data) in enumerate(entries, 1):
            entry = LogEntry.model_validate_json(data)
            if (name, entry.number, entry.scope) != (f"{number:08d}.json", number, scope):
                yield f"the log of {scope}: {name} stands at place {number} and calls itself {entry.number}"
            if entry.previous_sha256 != previous:
                yield f"the log of {scope}: entry {number} does not name the digest of the one before it"
            previous = sha256(data)


def _promotions(history: History) -> Iterator[str]:
    """A decision promotes once and a run promotes once; the promoted model won; a rollback restores its entry."""
    runs = Counter((claim.identifier, claim.config_hash) for claim in history.claimed)
    for scope in history.logs:
        entries = history.entries(scope)
        promoting = [entry for entry in entries.values() if entry.kind == "promote"]
        for decision_id, times in Counter(entry.decision_id for entry in promoting).items():
            if times > 1:
                yield f"the log of {scope}: decision {decision_id[:12]} promoted {times} times"
        for config_hash, times in Counter(entry.champion.config_hash for entry in promoting).items():
            begun = runs[scope, config_hash]
            if times > begun:
                yield f"the log of {scope}: {config_hash[:12]} promoted {times} times in {begun} runs"
        for entry in promoting:
            yield from _won(history, entry)
        for entry in entries.values():
            restored = entries.get(entry.restores or 0)
            if entry.kind == "rollback" and (restored is None or restored.champion != entry.champion):
                yield f"the log of {scope}: entry {entry.number} does not bring back entry {entry.restores}"


def _won(history: History, entry: LogEntry) -> Iterator[str]:
    decision = history.json(f"model-promotion/{entry.scope}/decisions/{entry.decision_id}.json")
    if decision is None:
        yield f"the log of {entry.scope}: the decision of entry {entry.number} is not stored"
        return
    rows = {row["model"]: row for row in decision["candidates"]}
    winner = rows.get(decision["winner"] or "", {})
    promoted = {name: getattr(entry.champion, name) for name in ("model", "model_hash", "bundle_sha256", "score")}
    if decision["outcome"] != "promote" or not promoted.items() <= winner.items():
        yield f"the log of {entry.scope}: entry {entry.number} is not what its decision says"


def _runs(history: History) -> Iterator[str]:
    """Of the runs of a configuration and scope the newest is judged, and its decision and promotion are stored."""
    newest: dict[tuple[Scope, str], int] = {}
    for claim in history.claimed:
        scope_and_config = claim.identifier, claim.config_hash
        newest[scope_and_config] = max(newest.get(scope_and_config, 0), claim.run)
        if history.json(f"runs/{claim.config_hash}/{claim.run:04d}/claim.json") is None:
            yield f"run {claim.run} of {claim.config_hash[:12]} in {claim.identifier} was begun and is not stored"
    for (scope, config_hash), run in newest.items():
        judged = history.json(f"runs/{config_hash}/{run:04d}/judge.json")
        if judged is None:
            yield f"run {run} of {config_hash[:12]} in {scope} was never judged"
            continue
        if f"model-promotion/{scope}/decisions/{judged['decision_id']}.json" not in history.objects:
            yield f"run {run} of {config_hash[:12]} in {scope}: its decision is not stored"
        known = {entry.decision_id for entry in history.entries(scope).values()}
        if judged["outcome"] == "promote" and judged["decision_id"] not in known:
            yield f"run {run} of {config_hash[:12]} in {scope}: its promotion is not in the log"


def _pointers(history: History) -> Iterator[str]:
    """Every pointer agrees with the newest log entry that it is about."""
    for scope in history.logs:
        entries = history.entries(scope)
        newest = entries[max(entries)]
        wanted = {f"model-promotion/{scope}/current.json": newest}
        wanted |= {f"model-promotion/{scope}/{e.champion.config_hash}/current.json": e for e in entries.values()}
        if scope == "global":
            wanted["model-promotion/current.json"] = newest
        for key, entry in wanted.items():
            pointer = history.json(key)
            if pointer is None or not _says(pointer, entry):
                stands = "nowhere" if pointer is None else f"at {pointer['promotion']}"
                yield f"{key} points {stands}, not at entry {entry.number}"


def _selected(history: History) -> Iterator[str]:
    """Every message about a champion agrees with the log, and the newest entry of each log was sent."""
    told: dict[Scope, set[int]] = defaultdict(set)
    for message in map(ModelSelected.parse, history.told(ModelSelected.topic)):
        told[message.scope].add(message.promotion)
        entry = history.entries(message.scope).get(message.promotion)
        if entry is None or not _says(message.model_dump(), entry):
            yield f"model-selected: promotion {message.promotion} of {message.scope} is not what the log says"
    for scope in history.logs:
        if max(history.entries(scope)) not in told[scope]:
            yield f"model-selected: the newest entry of {scope} was never told"


def _says(message: Mapping[str, Any], entry: LogEntry) -> bool:
    said = {"promotion": entry.number, "kind": entry.kind, "decision_id": entry.decision_id}
    return said.items() <= message.items() and all(
        message[name] == getattr(entry.champion, name)
        for name in ("config_hash", "data_hash", "model_hash", "run_id", "model_type", "bundle_sha256", "score")
    )


def _answered(history: History) -> Iterator[str]:
    """Every request has an answer or a dead letter with a reason."""
    answered = {answer.input_event_id for answer in _answers(history)}
    dead_letters = {
        json.loads(record.value)["event_id"]
        for record in history.topics.get(f"{DEAD}{InferenceData.topic}", ())
        if record.headers.get("flts-reason")
    }
    asked = {claim.event_id: claim for claim in history.asked}
    for event_id, claim in asked.items():
        if event_id not in answered | dead_letters:
            yield f"inference-data: {claim.object_key} of {claim.identifier} has neither an answer nor a reason"
    for event_id in answered - asked.keys():
        yield f"performance-eval: {event_id[:12]} was never asked"


def _served(history: History) -> Iterator[str]:
    """The model that answered was champion under the promotion in its answer, before it answered."""
    for answer in _answers(history):
        which = f"performance-eval: the answer to {answer.input_event_id[:12]}"
        entry = history.entries(answer.identifier).get(answer.promotion)
        if entry is None:
            yield f"{which} names promotion {answer.promotion}, which is not in the log of {answer.identifier}"
            continue
        same = ("config_hash", "data_hash", "model_type", "run_id")
        if any(getattr(answer, name) != getattr(entry.champion, name) for name in same):
            yield f"{which} is not by the champion of promotion {answer.promotion}"
        if answer.ts < datetime.fromisoformat(entry.time):
            yield f"{which} came before promotion {answer.promotion}"
        lines = history.objects.get(answer.log_object_key, b"").splitlines()
        if len(lines) != answer.forecasts:
            yield f"{which} tells of {answer.forecasts} forecasts and {len(lines)} are stored"


def _lines(history: History) -> Iterator[str]:
    """Every stored forecast is by the champion that it names."""
    for key, data in history.objects.items():
        if not key.startswith("inference-logs/") or not key.endswith(".jsonl"):
            continue
        entries = history.entries(key.split("/")[1])
        for promotion, model_hash in {(r["promotion"], r["model_hash"]) for r in map(json.loads, data.splitlines())}:
            if promotion not in entries or entries[promotion].champion.model_hash != model_hash:
                yield f"{key} is not by the champion of promotion {promotion}"


def _letters(history: History) -> Iterator[str]:
    """Only requests for a batch become dead letters, for a reason that lies with the request."""
    for topic, records in history.topics.items():
        for record in records if topic.startswith(DEAD) else ():
            error, reason = record.headers.get("flts-error", ""), record.headers.get("flts-reason", "")
            if topic != f"{DEAD}{InferenceData.topic}" or error not in {"NoChampion", "DataError"} or not reason:
                yield f"{topic}: {record.partition}/{record.offset} was given up: {error}: {reason}"


def _answers(history: History) -> list[PerformanceEval]:
    return [PerformanceEval.parse(value) for value in history.told(PerformanceEval.topic)]


def _artifacts(history: History) -> Iterator[str]:
    """Every object that a record names exists and has the digest in the record."""
    for key in history.objects:
        for name, digest in _named(history, key):
            data = history.objects.get(name)
            if data is None:
                yield f"{name} is absent, and {key} names it"
            elif sha256(data) != digest:
                yield f"{name} is not what {key} says"


def _named(history: History, key: str) -> Iterator[tuple[str, str]]:
    """The objects that a record names, with their digests."""
    record = {} if not key.endswith(".json") or key.endswith(".preview.json") else history.json(key) or {}
    folder = key.rpartition("/")[0]
    match key.split("/"):
        case ["bundles", name, "manifest.json"]:
            yield key, name
            yield from ((f"{folder}/{file}", entry["sha256"]) for file, entry in record["files"].items())
        case ["models", _, "result.json"]:
            yield f"bundles/{record['bundle_sha256']}/manifest.json", record["bundle_sha256"]
            yield f"{folder}/validation.parquet", record["validation_sha256"]
        case ["models", _, "windows", _, "result.json"]:
            yield f"{folder}/forecasts.parquet", record["forecasts_sha256"]
        case ["processed-data", _, "meta.json"]:
            yield from ((f"{folder}/{part}.parquet", record[part]["sha256"]) for part in ("train", "test"))
        case ["model-promotion", _, "decisions", name] if record.get("preview_sha256"):
            yield f"{folder}/{name.removesuffix('.json')}.preview.json", record["preview_sha256"]
