"""Decisions, log, pointers and their relay keep their guarantees in whatever order things happen.

Hypothesis generates results and failures that arrive late, twice or in part, judges that are stopped at any write or
overtaken just before one, relays, rollbacks and promotions by hand. After each step everything stored is checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.experiments import small_experiment, small_spec
from tests.support.points import points
from tests.support.raising import raises
from tests.support.stored import (
    StoppedClock,
    Watched,
    contents,
    copy,
    fit,
    put_claim,
    put_failure,
    put_forecasts,
    put_model,
    truth,
    without,
)

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import failpoints, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import UsageError
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Store
from flts.contracts.records.base import parse_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.evaluate.case import Status
from flts.forecasting.bundle import read_bundle, write_bundle
from flts.promotion.judge import Waiting, gather
from flts.promotion.log import read_chain, read_log
from flts.promotion.relay import relay, selected
from flts.promotion.stage import Judged, promote, promote_by_hand, promoted_of, rollback
from flts.train.experiment import Experiment

SCOPE = "global"
CLOCK = StoppedClock()
ERRORS = {
    ("a", "ridge"): 8.0,
    ("a", "gru"): 4.0,
    ("b", "ridge"): 1.0,
    ("b", "gru"): 2.0,
    ("c", "ridge"): 16.0,
    ("c", "gru"): 0.5,
}
"""Standard deviation of the errors of each model of each configuration, so far apart that every test is significant."""
MODELS = ("ridge", "gru")
LATENCY = "promote.latency"

configs = st.sampled_from("abc")
models = st.sampled_from(MODELS)
seeds = st.integers(0, 2)
cuts = st.none() | st.sampled_from([p for p in points() if p.startswith("promote.") and not p.startswith(LATENCY)])
half = st.none() | st.sampled_from([p for p in points() if p.startswith(("train.forecasts.", "train.windows_result."))])
moments = st.sampled_from(["log/", "current.json"])
"""Just before the next log entry is created, or the next pointer moved."""


@dataclass(frozen=True)
class Interference:
    """Another actor that steps in during an action, at the next of these moments."""

    moment: str
    act: str
    config: str
    model: str


others = st.lists(
    st.builds(Interference, moments, st.sampled_from(["judge", "rollback", "by hand", "relay"]), configs, models),
    max_size=3,
)


@cache
def experiments() -> tuple[dict[str, Experiment], dict[tuple[str, str], str], Store]:
    """Three experiments on the same rows, a bundle for each of their models, and the store with both."""
    base = memory_store()
    by_name, bundles = {}, {}
    for number, name in enumerate("abc"):
        experiment, store = small_experiment(small_spec(MODELS, train={"validation_fraction": 0.1 + 0.1 * number}))
        manifest, files = read_bundle(store, fit(store, experiment).bundle_sha256)
        for model in MODELS:
            bundles[name, model] = write_bundle(store, manifest.model_copy(update={"chosen": {"for": model}}), files)
        copy(without(store, *store.list("models/")), base)
        by_name[name] = experiment
    return by_name, bundles, base


@contextmanager
def cut(point: str | None) -> Iterator[None]:
    """An action that passes this point is stopped there."""
    failpoints.arm(f"{point}=error" if point else "")
    try:
        yield
    finally:
        failpoints.arm("")


class Promotions(RuleBasedStateMachine):
    """One scope, three configurations of two models, and all actors that may change it."""

    def __init__(self) -> None:
        super().__init__()
        self.experiments, self.bundle_of, base = experiments()
        self.store, self.bus = memory_store(), MemoryBus()
        copy(base, self.store)
        self.stored: dict[str, bytes] = {}
        self.committed: set[tuple[str, str]] = set()
        self.begun: dict[tuple[str, str], int] = {}
        """Seed of the forecasts that a bundle makes before they are committed."""
        self.failed: dict[tuple[str, str], Status] = {}
        """Status in the newest run of the configuration."""
        self.runs = dict.fromkeys("abc", 0)
        self.began = dict.fromkeys("abc", 0)
        """Length of the log when the newest run of a configuration began."""
        self.ids: dict[tuple[Any, ...], str] = {}
        for name in "abc":
            self.run_begins(name)

    @initialize(late=st.sets(st.sampled_from(sorted(ERRORS)), max_size=3))
    def most_results_are_there(self, late: set[tuple[str, str]]) -> None:
        for config, model in sorted(ERRORS.keys() - late):
            self.result_arrives(config, model, 0, None)

    @property
    def log(self) -> list[LogEntry]:
        return read_log(self.store, SCOPE)

    @rule(config=configs)
    def run_begins(self, config: str) -> None:
        """A new run forgets what failed in the one before, not what was finished."""
        self.runs[config] += 1
        self.began[config] = len(self.log)
        put_claim(self.store, self.experiments[config], self.runs[config], SCOPE)
        for model in MODELS:
            self.failed.pop((config, model), None)

    @rule(config=configs, model=models, seed=seeds, point=half)
    def result_arrives(self, config: str, model: str, seed: int, point: str | None) -> None:
        """A first or later result, complete or stopped halfway.

        After one that was stopped the same bundle forecasts the same; after a complete one, another fit may come with
        other numbers of the same quality.
        """
        experiment, key = self.experiments[config], (config, model)
        if key not in self.committed:
            seed = self.begun.setdefault(key, seed)
        put_model(self.store, experiment, model, self.bundle_of[config, model])
        noise = np.random.default_rng([seed, *map(ord, config + model)]).normal(0.0, 1.0, truth(experiment).shape)
        forecast = np.nan_to_num(truth(experiment), nan=50.0) + ERRORS[config, model] * noise
        with cut(point), ignoring_cuts(point):
            put_forecasts(self.store, experiment, model, forecast)
        if point is None or point == "train.windows_result.after":
            self.committed.add((config, model))

    @rule(config=configs, model=models, reason=st.sampled_from(["TrainingFailed", "NotApplicable"]))
    def failure_arrives(self, config: str, model: str, reason: str) -> None:
        """A failure of the newest run; a second one changes nothing."""
        put_failure(self.store, self.experiments[config], model, self.runs[config], reason)
        self.failed.setdefault((config, model), "N/A" if reason == "NotApplicable" else "FAILED")

    @rule(config=configs, own=st.booleans())
    def judge_acts(self, config: str, own: bool) -> None:
        """Undisturbed: winner and outcome follow from the errors alone.

        own: the judge knows when its run began, so it recognises a promotion by this run.
        """
        before, since = self.log, self.began[config] if own else None
        expected = self.expect(config, since, before)
        result = self.judge(self.store, config, since)
        if result is None:
            assert expected is None
            assert self.log == before
            return
        assert expected is not None
        key, outcome, winner = expected
        if outcome != "own":
            assert (result.decision.outcome, result.decision.winner and result.decision.winner.name) == (
                outcome,
                winner,
            )
            assert self.ids.setdefault(key, result.decision.decision_id) == result.decision.decision_id
            assert len(set(self.ids.values())) == len(self.ids), "another case has another decision_id"
        known = result.decision.decision_id in {entry.decision_id for entry in before}
        assert self.log[: len(before)] == before
        assert len(self.log) - len(before) == (outcome == "promote" and not known)
        self.everything_is_announced()

    @rule(config=configs, own=st.booleans(), point=cuts, meanwhile=others)
    def judge_is_disturbed(self, config: str, own: bool, point: str | None, meanwhile: Sequence[Interference]) -> None:
        """The judge is stopped at any write, or others act meanwhile."""
        result = None
        with self.disturbed(point, meanwhile) as store:
            result = self.judge(store, config, self.began[config] if own else None)
        if result is not None:
            self.everything_is_announced()

    @rule(point=cuts, meanwhile=others)
    def relay_acts(self, point: str | None, meanwhile: Sequence[Interference]) -> None:
        with self.disturbed(point, meanwhile) as store:
            relay(store, self.bus, SCOPE)
        if point is None:
            self.everything_is_announced()

    @rule(point=cuts, meanwhile=others)
    def person_rolls_back(self, point: str | None, meanwhile: Sequence[Interference]) -> None:
        acted = False
        with self.disturbed(point, meanwhile) as store:
            acted = self.roll_back(store)
        if acted:
            self.everything_is_announced()

    @precondition(lambda self: any("/decisions/" in key for key in self.stored))
    @rule(config=configs, model=models, point=cuts, meanwhile=others)
    def person_promotes(self, config: str, model: str, point: str | None, meanwhile: Sequence[Interference]) -> None:
        acted = False
        with self.disturbed(point, meanwhile) as store:
            acted = self.promote_by_hand(store, config, model)
        if acted:
            self.everything_is_announced()

    def judge(self, store: Store, config: str, since: int | None) -> Judged | None:
        """Gather and promote; the result agrees with the log. None while a result is awaited."""
        experiment = self.experiments[config]
        candidates = gather(store, experiment, SCOPE)
        awaited = [model for model in sorted(MODELS) if self.status(config, model) is None]
        if isinstance(candidates, Waiting):
            assert candidates.missing == awaited
            return None
        assert [(c.name, c.status) for c in candidates] == [(m, self.status(config, m)) for m in sorted(MODELS)]
        result = promote(
            store, self.bus, CLOCK, experiment, candidates, scope=SCOPE, actor="judge", run_ids={}, since=since
        )
        entries = self.log
        assert result.champion == (entries[-1] if entries else None)
        assert result.entry is None or result.entry in entries
        if result.decision.outcome == "promote":
            assert result.decision.decision_id in {entry.decision_id for entry in entries}
        return result

    def roll_back(self, store: Store) -> bool:
        """False when there is no earlier champion, which is refused."""
        before = self.log
        if len(standing(before)) < 2:
            with raises(UsageError, code="no-earlier-champion"):
                rollback(store, self.bus, CLOCK, SCOPE, "person")
            assert self.log == before
            return False
        try:
            entry = rollback(store, self.bus, CLOCK, SCOPE, "person")
        except UsageError as refused:  # somebody else changed the champion that this person saw
            if refused.code != "champion-changed":
                raise
            assert len(self.log) > len(before)
            return False
        assert entry in self.log
        return True

    def promote_by_hand(self, store: Store, config: str, model: str) -> bool:
        """A model that has a forecast in a stored decision of a configuration; False when none has."""
        config_hash = self.experiments[config].identity.config_hash
        for key, data in contents(self.store, f"model-promotion/{SCOPE}/decisions/").items():
            if key.endswith(".preview.json"):
                continue
            record = parse_record(DecisionRecord, data, key)
            if record.config_hash == config_hash and record.row(model) is not None:
                champion = promoted_of(record, model, self.experiments[config].identity.data_hash, None)
                entry = promote_by_hand(store, self.bus, CLOCK, SCOPE, champion, record.decision_id, "person")
                assert entry is None or entry in self.log
                return True
        return False

    @contextmanager
    def disturbed(self, point: str | None, meanwhile: Sequence[Interference]) -> Iterator[Store]:
        """A store for an action that is stopped at a point, and during which others step in."""
        waiting = list(meanwhile)

        def step_in(key: str) -> None:
            if waiting and waiting[0].moment in key:
                other = waiting.pop(0)
                acts: dict[str, Callable[[], Any]] = {
                    "judge": lambda: self.judge(self.store, other.config, None),
                    "rollback": lambda: self.roll_back(self.store),
                    "by hand": lambda: self.promote_by_hand(self.store, other.config, other.model),
                    "relay": lambda: relay(self.store, self.bus, SCOPE),
                }
                acts[other.act]()

        with cut(point), ignoring_cuts(point):
            yield Watched(self.store, step_in)

    def status(self, config: str, model: str) -> Status | None:
        """The status of a model for a judge; None while it is awaited."""
        return "SUCCESS" if (config, model) in self.committed else self.failed.get((config, model))

    def expect(
        self, config: str, since: int | None, entries: Sequence[LogEntry]
    ) -> tuple[tuple[Any, ...], str, str | None] | None:
        """Key of the case, outcome and winner that follow from the errors; None while a result is awaited."""
        states = [self.status(config, model) for model in MODELS]
        if None in states:
            return None
        champion = entries[-1].champion if entries else None
        key = (config, tuple(states), champion and champion.model_hash)
        identity = self.experiments[config].identity
        winner = min(
            (m for m in MODELS if self.status(config, m) == "SUCCESS"), key=lambda m: ERRORS[config, m], default=None
        )
        if since is not None and any(
            e.kind == "promote" and e.champion.config_hash == identity.config_hash for e in entries[since:]
        ):
            return key, "own", winner
        if winner is None:
            return key, "none", None
        if champion is None or ERRORS[config, winner] < self.error_of(champion.model_hash):
            return key, "promote", winner
        return key, "keep", winner

    def error_of(self, model_hash: str) -> float:
        """The standard deviation of the errors of a model."""
        return next(
            error
            for (config, model), error in ERRORS.items()
            if self.experiments[config].identity.model_hashes[model] == model_hash
        )

    def everything_is_announced(self) -> None:
        """After an undisturbed action every pointer names its newest entry, and the message about it was sent."""
        log = read_chain(self.store, SCOPE)
        entries = log.entries
        if not entries:
            return
        newest = {layout.config_pointer(SCOPE, e.champion.config_hash): e for e in entries}
        newest |= {layout.root_pointer(): entries[-1], layout.scope_pointer(SCOPE): entries[-1]}
        for key, entry in newest.items():
            assert self.store.get(key) == selected(log, entry).to_bytes(), key
        sent = [record.value for record in self.bus.records(ModelSelected.topic)]
        assert selected(log, entries[-1]).to_bytes() in sent

    @invariant()
    def everything_holds(self) -> None:
        self.nothing_stored_changes_and_nothing_is_lost()
        self.the_log_is_a_chain_in_which_every_decision_is_promoted_once()
        self.every_entry_follows_from_the_one_before()
        self.a_pointer_is_the_message_of_an_entry()

    def nothing_stored_changes_and_nothing_is_lost(self) -> None:
        objects = contents(self.store)
        for key, data in self.stored.items():
            assert key in objects
            assert key.endswith("/current.json") or objects[key] == data, f"{key} was changed"
        self.stored = objects

    def the_log_is_a_chain_in_which_every_decision_is_promoted_once(self) -> None:
        entries, previous = self.log, None
        for number, entry in enumerate(entries, 1):
            assert (entry.number, entry.previous_sha256) == (number, previous)
            previous = sha256(self.stored[layout.log_entry(SCOPE, number)])
        promoted = [entry.decision_id for entry in entries if entry.kind == "promote"]
        assert len(promoted) == len(set(promoted))

    def every_entry_follows_from_the_one_before(self) -> None:
        """A promotion was decided against the champion it replaced; a rollback restores the champion before."""
        entries = self.log
        for before, entry in pairwise([None, *entries]):
            assert entry is not None
            champion = before.champion if before else None
            match entry.kind:
                case "promote":
                    record = json.loads(self.stored[layout.decision(SCOPE, entry.decision_id)])
                    assert record["outcome"] == "promote"
                    against = record["champion"]
                    assert (against and against["model_hash"]) == (champion and champion.model_hash)
                    config = next(c for c in "abc" if self.experiments[c].identity.config_hash == record["config_hash"])
                    able = [row["model"] for row in record["candidates"] if row["status"] == "SUCCESS"]
                    assert entry.champion.model == min(able, key=lambda model: ERRORS[config, model])
                case "rollback":
                    assert entry.champion == standing(entries[: entry.number - 1])[-2].champion
                case "manual":
                    assert champion is None or champion.bundle_sha256 != entry.champion.bundle_sha256

    def a_pointer_is_the_message_of_an_entry(self) -> None:
        """A pointer to the champion moves only after the message was sent, so a moved pointer proves the message."""
        log, champion = read_chain(self.store, SCOPE), {layout.root_pointer(), layout.scope_pointer(SCOPE)}
        sent = {record.value for record in self.bus.records(ModelSelected.topic)}
        for key, data in self.stored.items():
            if key.endswith("/current.json"):
                entry = log.entries[json.loads(data)["promotion"] - 1]
                assert data == selected(log, entry).to_bytes()
                assert key not in champion or data in sent


@contextmanager
def ignoring_cuts(point: str | None) -> Iterator[None]:
    """Continue after an action was stopped at this point."""
    try:
        yield
    except OSError as error:
        if str(error) != f"failpoint {point}":
            raise


def standing(entries: Sequence[LogEntry]) -> list[LogEntry]:
    """The entries in force: those that were not rolled back."""
    left: list[LogEntry] = []
    for entry in entries:
        if entry.kind == "rollback":
            left.pop()
        else:
            left.append(entry)
    return left


COMMON = settings(
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("examples", [40, pytest.param(200, marks=pytest.mark.long)])
def test_promotions_and_rollbacks_in_any_order(examples: int) -> None:
    run_state_machine_as_test(Promotions, settings=settings(COMMON, max_examples=examples))
