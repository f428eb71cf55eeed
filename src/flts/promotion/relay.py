"""Bring everything that is derived from the log up to date: the pointers and the model-selected message.

Nothing is decided here, and every step is idempotent. Pointers are written last, so a pointer that is up to date
proves that the message was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flts.contracts import events, layout
from flts.contracts.errors import DamagedObject
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Bus, Store, point_at
from flts.contracts.records.base import read_record
from flts.contracts.records.log import LogEntry
from flts.promotion.log import EMPTY, Chain, read_chain, scopes


def relay(store: Store, bus: Bus, scope: str, known: Chain = EMPTY) -> LogEntry | None:
    """Bring message and pointers of a scope up to its log; returns the champion's entry, None for an empty log.

    Checks again after writing: a slower relay may just have replaced a newer pointer by an older one. known: what was
    read of the log before, which is not read again.
    """
    log = known
    while (log := read_chain(store, scope, log)).entries:
        newest = log.entries[-1]
        configs = {layout.config_pointer(scope, entry.champion.config_hash): entry for entry in log.entries}
        stale_configs = {key: entry for key, entry in configs.items() if _is_behind(store, key, entry)}
        stale = [key for key in _pointers(scope) if _is_behind(store, key, newest)]
        if not stale_configs and not stale:
            return newest
        if stale:
            message = selected(newest)
            bus.publish(message.topic, message.key, message.to_bytes())
            events.emit(
                events.PromotionPublish(
                    config_hash=newest.champion.config_hash,
                    scope=scope,
                    promotion=newest.number,
                    event_id=message.event_id,
                )
            )
        for key, entry in stale_configs.items():
            point_at(store, key, selected(entry).to_bytes(), at="promote.pointer.config")
        if stale:
            _point_at_champion(store, scope, newest, stale)
    return None


def relay_all(store: Store, bus: Bus) -> None:
    """Bring every scope up to its log, which finishes a relay that was stopped between two writes.

    A scope with a damaged log is logged and skipped: a person has to restore it.
    """
    for scope in scopes(store):
        try:
            relay(store, bus, scope)
        except DamagedObject as damage:
            events.emit(events.PromotionLogDamaged(scope=scope, reason=str(damage)))


def selected(entry: LogEntry) -> ModelSelected:
    """The message about a log entry; the same entry always gives the same bytes."""
    champion = entry.champion
    return ModelSelected(
        ts=datetime.fromisoformat(entry.time),
        identifier=entry.scope,
        scope=entry.scope,
        promotion=entry.number,
        kind=entry.kind,
        decision_id=entry.decision_id,
        **champion.model_dump(exclude={"model"}),
    )


def read_pointer(store: Store, key: str) -> ModelSelected | None:
    """The promotion that a pointer names, None when it is absent. Raises DamagedObject that names key and field."""
    return read_record(store, key, ModelSelected)


def _pointers(scope: str) -> list[str]:
    """The pointers to the champion of a scope, in the order they are written."""
    return [*([layout.root_pointer()] if scope == "global" else []), layout.scope_pointer(scope)]


def _is_behind(store: Store, key: str, entry: LogEntry) -> bool:
    """Whether a pointer names an earlier promotion, or is absent or unreadable: then it is written again."""
    try:
        pointer = read_pointer(store, key)
    except DamagedObject:
        return True
    return pointer is None or pointer.promotion < entry.number


def _point_at_champion(store: Store, scope: str, newest: LogEntry, pointers: Sequence[str]) -> None:
    for key in pointers:
        if _is_behind(store, key, newest):  # a faster relay may have seen a longer log
            point_at(
                store,
                key,
                selected(newest).to_bytes(),
                at="promote.pointer.root" if key == layout.root_pointer() else "promote.pointer.scope",
            )
    champion = newest.champion
    events.emit(
        events.PromotionRootPointerWrite(
            config_hash=champion.config_hash, scope=scope, run_id=champion.run_id, model_type=champion.model_type
        )
    )
