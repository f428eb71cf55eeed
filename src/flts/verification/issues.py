"""What the run itself gives reason to doubt or to do, computed from its records; nothing here is general advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flts.contracts import layout
from flts.contracts.errors import FltsError
from flts.contracts.records.base import Part
from flts.contracts.records.decision import DecisionRecord, UnrankedRow
from flts.contracts.records.run import FailurePart, TrainPart
from flts.evaluate.certainty import too_few
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import first_made
from flts.verification.stages import may_use, stage_parts


class Issue(Part):
    """One thing that a person should know about the run."""

    id: str
    says: str
    recommends: str | None
    """What would help, with the figures of this run."""
    claims: list[str]
    """Ids of the claims that show it."""


def issues(evidence: RunEvidence, *, damaged: bool) -> list[Issue]:
    """Every issue, in the order of the pipeline. What cannot be read raises none: its claim says so.

    damaged: a claim does not hold, so that what is read may make no sense.
    """
    found: list[Issue] = []
    for look in (_rows, _models, _put_aside, _made_again, _versions, _threads, _decision, _processes):
        found += _readable(look, evidence, damaged=damaged)
    return found


def _readable(look: Callable[[RunEvidence], Iterator[Issue]], evidence: RunEvidence, *, damaged: bool) -> list[Issue]:
    try:
        return list(look(evidence))
    except FltsError:
        return []
    except Exception:
        if not damaged:
            raise
        return []  # a claim is false already, and what an issue reads may be what was damaged


def _rows(evidence: RunEvidence) -> Iterator[Issue]:
    for place, warning in enumerate((*evidence.meta.warnings, *evidence.experiment.warnings), 1):
        yield Issue(id=f"rows.{place}", says=warning, recommends=None, claims=["preprocess.meta"])


def _models(evidence: RunEvidence) -> Iterator[Issue]:
    for model in evidence.models:
        failure = evidence.failed(model)
        if failure is not None and failure.error != "NotApplicable":
            yield Issue(
                id=f"failed.{model}",
                says=f"{model} failed: {failure.error}: {failure.reason}",
                recommends=f"mend what stopped {model}, or leave its table out of the experiment",
                claims=[f"train.{model}.outcome"],
            )
        part = evidence.trained(model)
        if part is not None and part.recomputed not in {None, "equal"}:
            why = "in the same environment" if part.recomputed == "nondeterminism_detected" else "elsewhere"
            yield Issue(
                id=f"recomputed.{model}",
                says=f"a second fit of {model} {why} gave another result",
                recommends=None,
                claims=[f"train.{model}.result"],
            )


def _put_aside(evidence: RunEvidence) -> Iterator[Issue]:
    for key, aside in evidence.elsewhere.items():
        if key.endswith("/result.json"):
            yield Issue(
                id=f"put-aside.{key}",
                says=f"{key} was put aside and made again after this run was judged from it; {aside} was checked",
                recommends=None,
                claims=["evaluation.evidence"],
            )


def _made_again(evidence: RunEvidence) -> Iterator[Issue]:
    decision = evidence.decision
    for row in decision.ranked if decision else ():
        part = evidence.trained(row.model)
        if part is None or part.model_hash != row.model_hash:
            continue
        result = evidence.result(row.model_hash)
        if result.bundle_sha256 != row.bundle_sha256 and first_made(evidence, layout.model_result(row.model_hash)):
            yield Issue(
                id=f"made-again.{row.model}",
                says=f"{row.model} of this run was made again on {result.made_on.processor}, with equal forecasts: its"
                f" bundle is {result.bundle_sha256[:12]}…, and the decision names {row.bundle_sha256[:12]}…",
                recommends=None,
                claims=[f"train.{row.model}.result", f"evaluation.{row.model}.row"],
            )


def _versions(evidence: RunEvidence) -> Iterator[Issue]:
    found: dict[str, list[str]] = {}
    for name, (_, part) in stage_parts(evidence).items():
        if part.machine is not None:
            found.setdefault(f"flts {part.machine.flts} on Python {part.machine.python}", []).append(name)
    if len(found) > 1:
        said = "; ".join(f"{versions} ({', '.join(names)})" for versions, names in found.items())
        yield Issue(
            id="versions",
            says=f"the processes of this run had different versions: {said}",
            recommends="give every process the same image",
            claims=["run.processes"],
        )


def _threads(evidence: RunEvidence) -> Iterator[Issue]:
    pods, threads = evidence.outside.pods, evidence.spec.run.threads
    late: dict[float, list[str]] = {}
    for name, (_, part) in stage_parts(evidence).items():
        fits = isinstance(part, FailurePart) or (isinstance(part, TrainPart) and part.fitted)
        if fits and part.machine is not None and (cores := may_use(part.machine)) < threads:
            late.setdefault(cores, []).append(name)
    for cores, names in late.items():
        yield Issue(
            id=f"threads.{names[0]}",
            says=f"each fit runs {threads} threads, and the process of {', '.join(names)} may use {cores:g} cores",
            recommends=f"give it {threads} cores, or set run.threads to {max(1, int(cores))}",
            claims=["run.processes", *(f"train.{name}.duration" for name in names)],
        )
    for pod in pods.pods if pods else ():
        if "train" in pod.name and pod.cpu_limit is not None and pod.cpu_limit < threads:
            yield Issue(
                id=f"threads.{pod.name}",
                says=f"{pod.name} may use {pod.cpu_limit:g} cores, and each fit runs {threads} threads",
                recommends=f"raise its CPU limit to {threads}, or set run.threads to {max(1, int(pod.cpu_limit))}",
                claims=["pods.ready"],
            )


def _decision(evidence: RunEvidence) -> Iterator[Issue]:
    decision = evidence.decision
    if decision is None:
        return
    for row in decision.candidates:
        if isinstance(row, UnrankedRow) and row.status == "N/A":
            claims = [f"evaluation.{row.model}.row"]
            yield Issue(
                id=f"not-applicable.{row.model}", says=f"{row.model}: {row.reason}", recommends=None, claims=claims
            )
    yield from _ranking(decision)


def _ranking(decision: DecisionRecord) -> Iterator[Issue]:
    certainty, winner = decision.certainty, decision.row(decision.winner)
    if certainty is None or winner is None:
        return
    if certainty.windows < certainty.windows_needed:
        yield Issue(
            id="few-windows",
            says=f"{certainty.windows} test windows are too few for the ranking to mean anything:"
            f" at least {certainty.windows_needed} are needed",
            recommends=f"judge on at least {certainty.windows_needed - certainty.windows} more test windows",
            claims=["evaluation.windows", "evaluation.certainty"],
        )
    if winner.skill_vs_naive is not None and winner.skill_vs_naive <= 0:
        yield Issue(
            id="no-skill",
            says=f"no model is better than naive: the last value repeated scores at most {winner.score:.4f},"
            f" the score of {winner.model}",
            recommends="serve no model of this run before one beats naive; set evaluate.min_skill = 0 to refuse it",
            claims=[f"evaluation.{winner.model}.skill_vs_naive"],
        )
    for place, warning in enumerate(certainty.warnings, 1):
        if warning != too_few(certainty.windows, certainty.windows_needed):  # said above
            yield Issue(id=f"certainty.{place}", says=warning, recommends=None, claims=["evaluation.certainty"])


def _processes(evidence: RunEvidence) -> Iterator[Issue]:
    pods = evidence.outside.pods
    for pod in pods.pods if pods else ():
        if pod.restarts:
            yield Issue(
                id=f"restarts.{pod.name}",
                says=f"{pod.name} was restarted {'once' if pod.restarts == 1 else f'{pod.restarts} times'}",
                recommends=f"kubectl logs {pod.name} --previous",
                claims=["pods.restarts"],
            )
