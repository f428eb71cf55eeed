"""Log files: what the services said when they did the work, beside what the store holds of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flts.contracts import layout, runs
from flts.contracts.messages import TrainingData
from flts.contracts.ports import experiment_of
from flts.promotion.stage import board_line, uri
from flts.verification.claims import FALSE, Check, Found, SectionChecks, absent, recorded
from flts.verification.evidence import RunEvidence
from flts.verification.messages import claim_id
from flts.verification.outside import LogLine

Said = Mapping[str, Any]
NO_LOG = "no log file was named: --log FILE"


def logs(evidence: RunEvidence) -> SectionChecks:
    """Claims about what was logged, in the order in which it happens."""
    checks = [
        _claim("sampling_applied", "sampling_applied", "Rows were sampled as logged", _sampled, _before_claim),
        _claim("upload_done", "upload_done", "The rows were stored as logged", _uploaded, _before_claim),
        _claim("claim_published", "claim_published", "The run was claimed as logged", _claimed, _of_config),
        *(check for model in evidence.models for check in _of_model(model)),
        _claim("promotion_scoreboard", "promotion_scoreboard", "The scoreboard is the logged one", _ranked, _of_config),
        _claim("promotion_decision", "promotion_decision", "The decision is the logged one", _decided, _of_config),
        _claim(
            "promotion_root_pointer_write",
            "promotion_root_pointer_write",
            "The pointers were written as logged",
            _pointed,
            _of_config,
        ),
        _claim(
            "promotion_publish", "promotion_publish", "The promotion was announced as logged", _published, _of_config
        ),
        _claim(
            "run_judged", "run_judged", "The record of the judgement is the logged one", _judged, of_run, every=True
        ),
    ]
    return SectionChecks("logs", "Log lines", checks, "--log FILE")


def excerpts(evidence: RunEvidence) -> list[str]:
    """The lines about this run, as they were logged."""
    told = (line for file in evidence.outside.logs for line in file.lines)
    return [line.text for line in told if line.fields.get("config_hash") == evidence.config_hash]


def _of_model(model: str) -> list[Check]:
    def lines(evidence: RunEvidence, event: str) -> Iterator[LogLine]:
        return (line for line in _of_config(evidence, event) if line.fields.get("model_type") == model.upper())

    def trained(evidence: RunEvidence) -> list[Said]:
        part = evidence.trained(model)
        if part is None:
            return []
        errors = {f"test_{name}": value for name, value in part.errors.model_dump().items()}
        return [{"run_id": part.run_id, "duration_ms": part.duration_ms, **errors}]

    def failed(evidence: RunEvidence) -> list[Said]:
        part = evidence.failed(model)
        return [{"error": part.error, "reason": part.reason}] if part else []

    return [
        _claim(f"{model}.train_complete", "train_complete", f"{model} ended as logged", trained, lines),
        _claim(f"{model}.train_failed", "train_failed", f"{model} failed as logged", failed, lines),
    ]


def _claim(
    name: str,
    event: str,
    says: str,
    effects: Callable[[RunEvidence], Sequence[Said]],
    lines: Callable[[RunEvidence, str], Iterator[LogLine]],
    *,
    every: bool = False,
) -> Check:
    """A claim that every effect has its line. A log may hold several runs of one experiment, so one line must fit.

    every: all lines must fit, as they name this run. Who rewrites a record may add a line to a log that only grows.
    """

    def look(evidence: RunEvidence) -> Found:
        if not evidence.outside.logs:
            return absent(NO_LOG)
        told = [] if _of_others(evidence) else list(lines(evidence, event))
        for line in told:
            evidence.note(line.source, line.sha256)
        if not told:
            return absent(f"the log files hold no line {event} of this run")
        wanted = effects(evidence)
        for effect in wanted:
            choose = max if every else min
            line = choose(told, key=lambda line: len(_differing(line, effect)))
            if differing := _differing(line, effect):
                field = differing[0]
                reason = f"{line.source} says another {field} than the store"
                return Found(FALSE, effect[field], line.fields.get(field), reason)
        return recorded(len(told)) if wanted else absent(f"the store holds nothing that {event} is about")

    return Check(f"logs.{name}", says, look, due=False)


def _differing(line: LogLine, effect: Said) -> list[str]:
    """The fields that the line has otherwise; a field without a value is left out of a line."""
    return [field for field, value in effect.items() if line.fields.get(field) != value]


def _of_config(evidence: RunEvidence, event: str) -> Iterator[LogLine]:
    """The lines of an event that may be about this run: they name its experiment and no other stored run of it."""
    others = _other_runs(evidence)
    for file in evidence.outside.logs:
        for line in file.lines:
            ours = line.fields.get("config_hash") == evidence.config_hash and line.fields.get("run") not in others
            if line.event == event and ours:
                yield line


def _other_runs(evidence: RunEvidence) -> Sequence[int]:
    found = evidence.once("run numbers", lambda: runs.numbers(evidence, evidence.config_hash))
    return [number for number in found if number != evidence.run]


def _of_others(evidence: RunEvidence) -> bool:
    """Whether the log files are about other runs of this experiment: of those that lines name, none is this one."""
    others = _other_runs(evidence)
    every = [line.fields for file in evidence.outside.logs for line in file.lines]
    named = [fields["run"] for fields in every if fields.get("config_hash") == evidence.config_hash and "run" in fields]
    return bool(named) and all(run in others for run in named)


def of_run(evidence: RunEvidence, event: str) -> Iterator[LogLine]:
    """The lines of an event that name this run."""
    return (line for line in _of_config(evidence, event) if line.fields.get("run") == evidence.run)


def _before_claim(evidence: RunEvidence, event: str) -> Iterator[LogLine]:
    """Lines that name no experiment: those between the claim of this run and the one before it in the same file."""
    for file in evidence.outside.logs:
        waiting: list[LogLine] = []
        for line in file.lines:
            if line.event == event:
                waiting.append(line)
            elif line.event == "claim_published":
                fields = line.fields
                if (fields.get("config_hash"), fields.get("run")) == (evidence.config_hash, evidence.run):
                    yield from waiting
                waiting = []


def _sampled(evidence: RunEvidence) -> list[Said]:
    meta = evidence.meta
    return [
        {
            "train_rows_before": meta.train.rows_before,
            "train_rows_after": meta.train.rows,
            "test_rows_before": meta.test.rows_before,
            "test_rows_after": meta.test.rows,
        }
    ]


def _uploaded(evidence: RunEvidence) -> list[Said]:
    meta, data_hash = evidence.meta, evidence.claim.data_hash
    parts = {layout.train_rows(data_hash): meta.train, layout.test_rows(data_hash): meta.test}
    return [{"object_key": key, "size": part.size, "sha256": part.sha256} for key, part in parts.items()]


def _claimed(evidence: RunEvidence) -> list[Said]:
    said = {"data_hash": evidence.claim.data_hash, "run": evidence.run}
    return [{**said, "topic": TrainingData.topic, "event_id": claim_id(evidence)}]


def _ranked(evidence: RunEvidence) -> list[Said]:
    decision = evidence.decision
    return [{"board": [board_line(row) for row in decision.candidates]}] if decision else []


def _decided(evidence: RunEvidence) -> list[Said]:
    decision = evidence.decision
    if decision is None:
        return []
    winner = decision.row(decision.winner)
    said: dict[str, Any] = {"decision_id": decision.decision_id, "outcome": decision.outcome}
    if winner is not None:
        judged, experiment = evidence.judged, experiment_of(decision.scope)
        run_id = judged.run_ids.get(winner.model) if judged else None
        said |= {"model_type": winner.model.upper(), "score": winner.score}
        said |= {
            "experiment": experiment,
            "run_id": run_id,
            "model_uri": uri(winner.model, winner.bundle_sha256, run_id),
        }
    return [{**said, "reason": "; ".join(decision.reasons)}]


def _judged(evidence: RunEvidence) -> list[Said]:
    judged, digest = evidence.judged, evidence.digest(evidence.part("judge"))
    return [{"decision_id": judged.decision_id, "judge_sha256": digest}] if judged else []


def _pointed(evidence: RunEvidence) -> list[Said]:
    entry = evidence.entry
    if entry is None:
        return []
    return [{"scope": entry.scope, "run_id": entry.champion.run_id, "model_type": entry.champion.model_type}]


def _published(evidence: RunEvidence) -> list[Said]:
    entry = evidence.entry
    return [{"scope": entry.scope, "promotion": entry.number}] if entry else []
