"""What the page reads of a store it reads once, and a part that cannot be read takes only itself away."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.boards import judged, promote, variant
from tests.support.raising import raises
from tests.support.stored import Watched, without

from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.server.page.evidence import Current, PageReader, Recent


@pytest.fixture(scope="module")
def made() -> tuple[Store, DecisionRecord]:
    return judged(300, 60)


def serving(log: Sequence[LogEntry]) -> Current:
    """The newest of these promotions answers."""
    return Current("global", log[-1], sha256(log[-1].to_bytes()), 0.0, None)


def test_a_log_and_its_decisions_are_read_once_until_another_is_promoted(made: tuple[Store, DecisionRecord]) -> None:
    store, decision = without(made[0]), made[1]
    log = promote(store, decision)
    watched = Watched(store)
    evidence, current = PageReader(watched), serving(log)
    for _ in range(2):
        assert evidence.log(current) == log
        assert evidence.behind(log[0]).decision == decision
        assert evidence.decision(log[0]) == decision
    assert len(watched.listed) == 1
    assert len(watched.read) == len(set(watched.read))
    log = promote(store, variant(store, decision), log)
    assert evidence.log(serving(log)) == log
    assert len(watched.listed) == 2


def test_a_decision_comes_with_its_preview_and_the_manifest_of_its_winner(made: tuple[Store, DecisionRecord]) -> None:
    store, decision = made
    found = PageReader(store).judgement("global", decision.decision_id)
    winner = decision.row(decision.winner)
    assert found.decision == decision
    assert found.preview is not None
    assert found.preview.model == decision.winner
    assert found.manifest is not None
    assert winner is not None


def test_a_lost_or_damaged_preview_or_manifest_is_left_out(made: tuple[Store, DecisionRecord]) -> None:
    store, decision = made
    winner = decision.row(decision.winner)
    assert winner is not None
    preview = layout.preview("global", decision.decision_id)
    manifest = layout.bundle(winner.bundle_sha256, "manifest.json")
    other = without(store, preview, manifest)
    other.create(preview, b"{}")
    found = PageReader(other).judgement("global", decision.decision_id)
    assert (found.decision, found.preview, found.manifest) == (decision, None, None)


def test_an_absent_decision_is_an_error(made: tuple[Store, DecisionRecord]) -> None:
    with raises(DamagedObject, code="object-missing"):
        PageReader(made[0]).judgement("global", digest("no such decision"))


def test_what_is_kept_is_limited_and_what_raises_is_made_again() -> None:
    kept: Recent[int, int] = Recent(2)
    calls: list[int] = []

    def make(key: int) -> int:
        calls.append(key)
        if len(calls) == 1:
            raise DamagedObject("once", code="record-damaged")
        return key

    with raises(DamagedObject, code="record-damaged"):
        kept.get(1, lambda: make(1))
    for key in (1, 2, 1, 3, 1, 2):
        assert kept.get(key, lambda key=key: make(key)) == key  # type: ignore[misc]
    assert calls == [1, 1, 2, 3, 2]
