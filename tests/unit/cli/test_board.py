"""How a decision is told to people: certainty, the smallest lead, and what is not counted."""

from __future__ import annotations

import json

import pytest
from tests.golden.store import OLDEST, records
from tests.support.judging import case_of, off_by, truth_of

from flts.cli.board import print_decision
from flts.contracts.canonical import digest
from flts.contracts.records.base import parse_record
from flts.contracts.records.decision import DecisionRecord
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast
from flts.promotion.words import NOT_COUNTED, ONE_FIT
from flts.spec.fields import Evaluate

TRUTH = truth_of(200)


def printed(decision: DecisionRecord, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_decision(decision)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_decision_says_its_error_its_leads_and_the_smallest_lead(capsys: pytest.CaptureFixture[str]) -> None:
    champion = ChampionForecast("old", digest("old"), off_by(TRUTH, 3.1, 9))
    record = decide(case_of(truth=TRUTH, champion=champion)).record
    lines = printed(record, capsys)
    assert record.certainty is not None
    assert record.certainty.champion is not None
    assert record.certainty.champion.test is not None
    assert record.certainty.smallest_lead is not None
    adjusted, smallest = record.certainty.champion.test.adjusted_p, record.certainty.smallest_lead
    assert any(line.startswith("nominal error of this look: ") for line in lines)
    assert any(
        line.startswith("lead over the champion old: +") and line.endswith(f"adjusted p = {adjusted:.2g}")
        for line in lines
    )
    assert any(line.startswith("lead over the runner-up fair: +") and ", p = " in line for line in lines)
    assert (
        f"smallest lead over old that these windows can show at level 0.013: {smallest.lead:.4f}"
        f" ({smallest.relative:.1%} of its score)" in lines
    )
    assert NOT_COUNTED in lines


@pytest.mark.parametrize("reference", [None, ChampionForecast("older", digest("older"), off_by(TRUTH, 3.0, 8))])
def test_with_not_worse_no_smallest_lead_is_told_over_a_champion_as_the_gate_tests_no_lead(
    reference: ChampionForecast | None, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, rules = ChampionForecast("old", digest("old"), off_by(TRUTH, 3.1, 9)), Evaluate(gate="not-worse")
    record = decide(case_of(truth=TRUTH, champion=champion, reference=reference, rules=rules)).record
    lines = printed(record, capsys)
    assert any(line.startswith("lead over the champion old: +") for line in lines)
    assert not any(line.startswith("smallest lead") for line in lines)
    first = decide(case_of(truth=TRUTH, rules=rules)).record
    assert any(line.startswith("smallest lead over fair ") for line in printed(first, capsys))


def test_a_decision_of_format_one_is_told_with_the_test_that_it_was_made_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = [json.loads(data) for _, kind, data in records(OLDEST) if kind is DecisionRecord]
    decision = next(found for found in stored if found["certainty"].get("best_referee"))
    assert decision["v"] == 1
    decision["certainty"]["best_referee"]["diebold_mariano"]["p"] = 0.0123
    lines = printed(parse_record(DecisionRecord, json.dumps(decision).encode(), "a decision"), capsys)
    assert any(line.startswith("lead over the baseline") and "Diebold-Mariano p = 0.012" in line for line in lines)


def test_a_model_whose_forecasts_depend_on_dates_alone_is_said_to_be_judged_from_one_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = decide(case_of(truth=TRUTH)).record
    first, *others = record.ranked
    alone = first.model_copy(update={"uses_history": False})
    lines = printed(record.model_copy(update={"candidates": [alone, *others]}), capsys)
    assert [line for line in lines if "from one fit" in line] == [f"{first.model} is judged from one fit: {ONE_FIT}"]
    assert not any("from one fit" in line for line in printed(record, capsys))
