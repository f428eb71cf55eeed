"""The two ways a person may change the champion: promote a judged model, and roll back."""

from __future__ import annotations

import getpass
import os
from contextlib import AbstractContextManager

from flts.contracts import layout, runs
from flts.contracts.errors import UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import JudgePart, RunClaim
from flts.promotion.log import read_chain
from flts.promotion.stage import promote_by_hand, promoted_of
from flts.promotion.stage import rollback as roll_back
from flts.report.evidence import resolve
from flts.runner.judgement import point_tracker
from flts.settings import Settings
from flts.wiring import RunContext, existing_store, locked_context, shared_context


def promote(
    settings: Settings, config: str, model: str, scope: str, actor: str | None = None, reason: str | None = None
) -> LogEntry | None:
    """Make a judged model the champion, whatever the gate said. None when it is the champion already.

    actor: who does it, by default as the settings say; reason: why, in their words.
    Raises UsageError for a configuration that was not judged in this scope, and for a model without a forecast.
    """
    with _context(settings) as context:
        store, config_hash = context.store, resolve(context.store, config)
        parts = runs.parts(store, config_hash, "judge", JudgePart)
        judge = next((part for part in parts if part.scope == scope), None)
        if judge is None:
            judged = judged_scopes(store, config_hash)
            raise UsageError(
                f"configuration {config_hash[:12]} was never judged in scope '{scope}'; scopes in which it was:"
                f" {', '.join(judged) or 'none'}",
                code="not-judged",
                config_hash=config_hash,
                scope=scope,
                valid=judged,
            )
        claim = require_record(store, layout.run_part(config_hash, judge.run, "claim"), RunClaim)
        decision = require_record(store, layout.decision(scope, judge.decision_id), DecisionRecord)
        who = actor or acting(settings)
        champion = promoted_of(decision, model, claim.data_hash, judge.run_ids.get(model))
        entry = promote_by_hand(
            store, context.bus, context.clock, scope, champion, decision.decision_id, who, reason=reason
        )
        point_tracker(context, read_chain(context.store, scope))
        return entry


def judged_scopes(store: Store, config_hash: str) -> list[str]:
    """Every scope in which a configuration was judged, sorted."""
    return sorted({part.scope for part in runs.parts(store, config_hash, "judge", JudgePart)})


def rollback(
    settings: Settings, scope: str, actor: str | None = None, saw: int | None = None, reason: str | None = None
) -> LogEntry:
    """Restore the champion before promotion `saw`, by default before the newest.

    actor: who does it, by default as the settings say; reason: why, in their words.
    Raises UsageError when there is none, and when another promotion is the newest by then.
    """
    with _context(settings) as context:
        who = actor or acting(settings)
        entry = roll_back(context.store, context.bus, context.clock, scope, who, saw=saw, reason=reason)
        point_tracker(context, read_chain(context.store, scope))
        return entry


def acting(settings: Settings) -> str:
    """Who acts: the actor of the settings, else the user of this process, else the number of a user without a name."""
    if settings.actor:
        return settings.actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12: the number stands in no list of users
        return f"uid {os.getuid()}"


def _context(settings: Settings) -> AbstractContextManager[RunContext]:
    """The settings' backends: with services their shared bus, which carries the news; else under the folder's lock."""
    if not settings.bus.startswith("memory:"):
        return shared_context(settings)
    existing_store(settings)
    return locked_context(settings)
