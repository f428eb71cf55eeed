"""Write again what others read of the log: pointers and the model-selected message.

Nothing here decides anything; all of it can be done again at any time. Pointers are written last, so a pointer that
is up to date says that the message was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flts import events, layout
from flts.errors import DamagedObject
from flts.messages import ModelSelected
from flts.ports import Bus, Store, point_at, read_json
from flts.promote.log import Entry, read_log


def relay(store: Store, bus: Bus, scope: str) -> Entry | None:
    """Bring every projection of a scope up to its log; returns the champion's entry, None for an empty log.

    Looks again after it has written: a slower relay may just have put an older pointer over a newer one.
    """
    while entries := read_log(store, scope):
        newest = entries[-1]
        pointed = min(_pointed_at(store, key) for key in _pointers(scope))
        behind = [entry for entry in entries if entry.number > pointed]
        if not behind:
            return newest
        message = selected(newest)
        bus.publish(message.topic, message.key, message.to_bytes())
        events.promotion_publish(
            config_hash=newest.champion.config_hash, scope=scope, promotion=newest.number, event_id=message.event_id
        )
        _point(store, scope, behind)
    return None


def selected(entry: Entry) -> ModelSelected:
    """The message of a log entry; the same entry always gives the same bytes."""
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


def _pointers(scope: str) -> list[str]:
    """The pointers to the champion of a scope, in the order they are written."""
    return [*([layout.root_pointer()] if scope == "global" else []), layout.scope_pointer(scope)]


def _pointed_at(store: Store, key: str) -> int:
    """The promotion a pointer names; 0 for one that is absent or unreadable, since it can be written again."""
    try:
        pointer = read_json(store, key)
        return int(pointer["promotion"]) if pointer else 0
    except (DamagedObject, KeyError, TypeError, ValueError):
        return 0


def _point(store: Store, scope: str, behind: Sequence[Entry]) -> None:
    """Move the pointers; behind: the entries since they were last moved, for several if a relay was cut off."""
    newest = behind[-1]
    for config_hash, entry in {entry.champion.config_hash: entry for entry in behind}.items():
        point_at(
            store, layout.config_pointer(scope, config_hash), selected(entry).to_bytes(), at="promote.pointer.config"
        )
    for key in _pointers(scope):
        if _pointed_at(store, key) < newest.number:  # a faster relay may have seen a longer log
            point_at(
                store,
                key,
                selected(newest).to_bytes(),
                at="promote.pointer.root" if key == layout.root_pointer() else "promote.pointer.scope",
            )
    champion = newest.champion
    events.promotion_root_pointer_write(
        config_hash=champion.config_hash, scope=scope, run_id=champion.run_id, model_type=champion.model_type
    )
