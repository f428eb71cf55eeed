"""A report with the runs of other environments beside its own: the verdict on each is a claim."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.verified import Ran

from flts.comparison.sides import Side
from flts.contracts.canonical import canonical_json
from flts.report.evidence import RunManifest, run_manifest
from flts.verification.claims import DEPENDS, FALSE, NOT_RECORDED, TRUE, State
from flts.verification.report import Report
from flts.verification.write.folder import FILES
from flts.verification.write.markdown import to_markdown

EXPERIMENT, RESULT, DURATION = (f"comparison.1.{name}" for name in ("experiment", "result", "duration"))


def manifest(ran: Ran) -> RunManifest:
    return run_manifest(ran.store, ran.config_hash, ran.run)


def beside(ran: Ran, *others: RunManifest, named: str = "other") -> Report:
    return ran.alone(others=[Side(named, other) for other in others])


def states(report: Report) -> tuple[State, State]:
    return report.claim(EXPERIMENT).state, report.claim(RESULT).state


def test_a_run_that_was_computed_elsewhere_with_the_same_result(local: Ran, healthy: Ran) -> None:
    report = beside(local, manifest(healthy))
    assert states(report) == (TRUE, TRUE)
    assert report.claim(RESULT).found == ["ridge"]
    assert report.claim(DURATION).state == TRUE
    assert report.exit_code == 0


def test_a_copy_shows_nothing(local: Ran) -> None:
    report = beside(local, manifest(local))
    assert states(report) == (TRUE, NOT_RECORDED)
    assert local.alone(others=[Side("other", manifest(local))], required=["comparison"]).exit_code == 1


def test_another_result_is_false_and_names_what_differs(local: Ran, healthy: Ran) -> None:
    other = manifest(healthy)
    results = {name: one.model_copy(update={"bundle_sha256": "0" * 64}) for name, one in other.results.items()}
    report = beside(local, other.model_copy(update={"results": results}))
    assert states(report) == (TRUE, FALSE)
    assert report.claim(RESULT).found == "bundle of ridge"
    assert report.exit_code == 1


def test_another_experiment_is_false_and_its_result_depends_on_it(local: Ran, healthy: Ran) -> None:
    other = manifest(healthy)
    spec: dict[str, Any] = json.loads(canonical_json(other.spec))
    spec["evaluate"]["min_skill"] = 0.5
    report = beside(local, other.model_copy(update={"spec": spec}))
    assert states(report) == (FALSE, DEPENDS)
    assert "evaluate.min_skill" in (report.claim(EXPERIMENT).reason or "")


def test_a_false_claim_about_this_run_is_one_about_the_comparison(local: Ran, healthy: Ran) -> None:
    damaged = local.with_object(local.key("meta.json", "processed-data/"), lambda data: data + b"x")
    assert states(beside(damaged, manifest(healthy))) == (DEPENDS, DEPENDS)


def test_where_a_manifest_is_kept_changes_nothing(local: Ran, healthy: Ran) -> None:
    first, second = (beside(local, manifest(healthy), named=named) for named in ("a.json", "/b/c.json"))
    for write in FILES.values():
        assert write(first) == write(second)


@pytest.mark.parametrize("name", FILES)
def test_every_file_holds_the_comparison(local: Ran, healthy: Ran, name: str) -> None:
    report = beside(local, manifest(healthy), manifest(local))
    written = FILES[name](report)
    assert RESULT in written
    assert "comparison.2.result" in written
    if name == "report.md":
        assert "### Artifacts, in the order of the pipeline" in to_markdown(report)
