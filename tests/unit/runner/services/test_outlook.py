"""The evaluator measures what the whole pipeline leaves undone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.counted import requests
from tests.support.experiments import small_experiment, small_spec
from tests.support.kept import indexed_runs
from tests.support.runs_to_judge import Later, claimed, told
from tests.support.stored import fit, put_train_part
from tests.support.tracking import context_of

from flts.backends.store import memory_store
from flts.contracts import layout, run_index
from flts.contracts.canonical import digest
from flts.contracts.errors import BackendUnavailable, DataError
from flts.contracts.failpoints import arm
from flts.contracts.records.base import require_record, write_record
from flts.contracts.records.run import TrainPart
from flts.runner.claim import claim_run
from flts.runner.services import deadline
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.letters import letters, replay, send_to_dead_letters
from flts.runner.services.outlook import GIVEN_UP, INDEX_AGAIN, Outlook
from flts.wiring import RunContext


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def scraped(outlook: Outlook) -> dict[tuple[str, ...], float]:
    """Value by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(outlook)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def bury(context: RunContext, count: int) -> None:
    """So many dead letters of claims."""
    for _ in range(count):
        context.bus.publish("training-data", "k", b"no message")
        send_to_dead_letters(context.bus, context.bus.records("training-data")[-1], DataError("odd"), 1, "train-gru")


def test_a_run_waits_until_it_is_judged_or_given_up() -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    fit(store, experiment)
    context = context_of(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    evaluator, start = Evaluator(context), context.clock.now()
    context.clock = Later(start + timedelta(hours=5))
    evaluator.outlook.look(context)
    found = scraped(evaluator.outlook)
    assert (found["flts_runs_open",], found["flts_run_open_seconds",]) == (1, 5 * 3600)
    context.clock = Later(start + GIVEN_UP)
    evaluator.outlook.look(context)
    found = scraped(evaluator.outlook)
    assert (found["flts_runs_open",], found["flts_run_open_seconds",]) == (0, 0)


def test_every_candidate_and_judgement_is_counted_from_zero() -> None:
    experiment, store = small_experiment(small_spec())
    fit(store, experiment)
    context = context_of(store)
    run = claimed(context, experiment)
    put_train_part(store, experiment, run, "ridge")
    key = layout.run_part(experiment.identity.config_hash, run, "train-ridge")
    part = require_record(store, key, TrainPart)
    store.erase(key)
    write_record(store, key, part.model_copy(update={"recomputed": "nondeterminism_detected"}), at="tests")
    evaluator = Evaluator(context)
    names = {"flts_candidates_total": ("success", "failed", "nondeterministic")}
    names["flts_judgements_total"] = ("promote", "keep", "none")
    begun = {(name, outcome): 0.0 for name, outcomes in names.items() for outcome in outcomes}
    assert {key: value for key, value in scraped(evaluator.outlook).items() if key in begun} == begun
    for status in ("RUNNING", "FAILED", "SUCCESS"):
        evaluator.handle(told(experiment, run, "ridge", status))
    expected = begun | {
        ("flts_candidates_total", "success"): 1.0,
        ("flts_candidates_total", "failed"): 1.0,
        ("flts_candidates_total", "nondeterministic"): 1.0,
        ("flts_judgements_total", "promote"): 1.0,
    }
    assert {key: value for key, value in scraped(evaluator.outlook).items() if key in begun} == expected
    evaluator.outlook.look(context)
    assert scraped(evaluator.outlook)["flts_runs_open",] == 0


def test_dead_letters_wait_until_they_are_replayed() -> None:
    context = context_of(small_experiment(small_spec())[1])
    bury(context, 3)
    outlook = Outlook()
    outlook.look(context)
    assert scraped(outlook)["flts_dead_letters", "training-data"] == 3
    assert scraped(outlook)["flts_dead_letters", "model-training"] == 0
    replay(context.bus, letters(context.bus, "training-data")[0])
    outlook.look(context)
    assert scraped(outlook)["flts_dead_letters", "training-data"] == 2


def test_a_backend_that_is_away_leaves_no_value_rather_than_an_old_one() -> None:
    context = context_of(small_experiment(small_spec())[1])
    bury(context, 1)
    outlook = Outlook()
    outlook.look(context)

    def away(*_: object) -> list[str]:
        raise BackendUnavailable("nobody answers")

    context.bus.records = away  # type: ignore[assignment,method-assign]
    context.store.list = away  # type: ignore[assignment,method-assign]
    outlook.look(context)
    left = {name for name, *_ in scraped(outlook)}
    assert not left & {"flts_runs_open", "flts_run_open_seconds", "flts_dead_letters"}


@pytest.mark.parametrize("judged", [10, 3000])
def test_a_look_and_a_deadline_cost_what_open_runs_cost_however_many_were_judged(
    judged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = indexed_runs(judged)[0]
    context = context_of(store)
    outlook, start = Outlook(), context.clock.now()
    outlook.look(context)
    for _ in range(3):
        claim_run(context, digest("open"), "global", digest("data"), promotion=0)
    context.clock = Later(start + timedelta(hours=1))
    outlook.look(context)  # which takes the marks of the first two away: a newer run replaced them
    assert scraped(outlook)["flts_runs_open",] == 1
    for look in (partial(outlook.look, context), partial(deadline.check, context, 2 * 3600.0)):
        with requests(monkeypatch) as counted:
            look()
        expected = {"list": 1, "folders": 1, "exists": 2, "get": 2}
        assert counted == expected, "the marks, the numbers of its configuration, and the open run with its claim"


def test_runs_of_an_flts_that_leaves_no_marks_are_found_by_the_first_look_and_once_a_day() -> None:
    context = context_of(memory_store())
    outlook, start = Outlook(), context.clock.now()

    def claimed_before(config: str) -> None:
        claim_run(context, digest(config), "global", digest("data"), promotion=0)
        for key in [*context.store.list("runs/open/"), *context.store.list("runs/by-")]:
            context.store.erase(key)

    claimed_before("first")
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 1
    claimed_before("second")
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 0, "not yet; the marks of both are gone"
    context.clock = Later(start + INDEX_AGAIN + timedelta(seconds=1))
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 2


def test_the_mark_of_a_run_goes_with_its_judgement_and_that_of_a_process_that_ended_before_its_claim_says_nothing() -> (
    None
):
    experiment, store = small_experiment(small_spec())
    fit(store, experiment)
    context = context_of(store)
    arm("run.claim.before=error")
    with pytest.raises(OSError, match="failpoint"):
        claimed(context, experiment)
    left = run_index.waiting(store)
    outlook = Outlook()
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 0
    assert run_index.waiting(store) == left, "its process may be about to claim"
    context.clock = Later(context.clock.now() + timedelta(seconds=1))
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 1
    assert len(run_index.waiting(store)) == 1, "the claim is another one's"
    arm("run.index.settled.before=error")
    with pytest.raises(OSError, match="failpoint"):
        Evaluator(context).handle(told(experiment))
    outlook.look(context)
    assert scraped(outlook)["flts_runs_open",] == 0
    assert run_index.waiting(store) == []
