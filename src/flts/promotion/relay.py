"""Bring everything that is derived from the log up to date: the pointers and the model-selected message.

Nothing is decided here, and every step is idempotent. Pointers are written last, so a pointer that is up to date
proves that the message was sent. Nothing orders the messages of relays that meet; consumers go by the number in them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from flts.contracts import events, layout
from flts.contracts.errors import DamagedObject, DataError
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Bus, Store, point_at, take_away
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import MessageRef
from flts.promotion.log import EMPTY, Chain, read_chain, scopes


@dataclass(frozen=True)
class Relayed:
    """The log, and where its newest entry was announced; None where it had been before, or where nobody finds it."""

    log: Chain
    announced: MessageRef | None = None


def relay(store: Store, bus: Bus, scope: str, known: Chain = EMPTY) -> Relayed:
    """Bring message and pointers of a scope up to its log.

    Checks again after writing: a slower relay may just have replaced a newer pointer by an older one. known: what was
    read of the log before, which is not read again. A pointer to an entry that is not in the log says that a person
    shortened or replaced the log: then the message names the one that it takes back.
    """
    log, announced = known, None
    while (log := read_chain(store, scope, log)).entries:
        newest = log.entries[-1]
        wanted = _pointers(log, scope)
        found = {key: read_pointer(store, key) for key in wanted}
        gone = {key: pointer for key, pointer in found.items() if pointer is not None and not _stands(log, pointer)}
        if gone and read_chain(store, scope, log).head != log.head:
            continue  # the log grew before the pointers were read: they are those of a faster relay
        stale = {key: message for key, message in wanted.items() if not _same(found[key], message)}
        if not stale:
            break
        moved = not stale.keys().isdisjoint(_of_champion(scope))
        if moved:
            taken_back = next((gone[key] for key in _of_champion(scope) if key in gone), None)
            announced = _announce(bus, selected(log, newest), taken_back)
        if gone:
            _drop_pointers(store, scope, log)
        for key, message in stale.items():
            if read_pointer(store, key) == found[key]:  # else a faster relay has written it meanwhile
                _point(store, key, message)
        if moved:
            champion = newest.champion
            events.emit(
                events.PromotionRootPointerWrite(
                    config_hash=champion.config_hash,
                    scope=scope,
                    run_id=champion.run_id,
                    model_type=champion.model_type,
                )
            )
    return Relayed(log, announced)


def relay_all(store: Store, bus: Bus) -> None:
    """Bring every scope up to its log, which finishes a relay that was stopped between two writes.

    A scope with a damaged log is logged and skipped: a person has to restore it.
    """
    for scope in scopes(store):
        try:
            relay(store, bus, scope)
        except DamagedObject as damage:
            events.emit(events.PromotionLogDamaged(scope=scope, reason=str(damage)))


def selected(log: Chain, entry: LogEntry) -> ModelSelected:
    """The message about an entry of this log; the same stored entry always gives the same bytes."""
    champion = entry.champion
    return ModelSelected(
        ts=datetime.fromisoformat(entry.time),
        identifier=entry.scope,
        scope=entry.scope,
        promotion=entry.number,
        entry_sha256=log.digest(entry.number),
        kind=entry.kind,
        decision_id=entry.decision_id,
        **champion.model_dump(exclude={"model"}),
    )


def read_pointer(store: Store, key: str) -> ModelSelected | None:
    """The promotion that a pointer names; None when it is absent or unreadable, as it is then written again."""
    data = store.get(key)
    try:
        return None if data is None else ModelSelected.parse(data)
    except DataError:
        return None


def follows(store: Store, log: Chain, scope: str, key: str) -> bool | None:
    """Whether the pointer under a key says what this log asks for; None where the log asks for no such pointer."""
    wanted = _pointers(log, scope).get(key)
    return None if wanted is None else _same(read_pointer(store, key), wanted)


def _of_champion(scope: str) -> list[str]:
    """The pointers to the champion of a scope, in the order they are written."""
    return [*([layout.root_pointer()] if scope == "global" else []), layout.scope_pointer(scope)]


def _pointers(log: Chain, scope: str) -> dict[str, ModelSelected]:
    """What each pointer of a scope has to say, in the order they are written."""
    configs = {layout.config_pointer(scope, entry.champion.config_hash): entry for entry in log.entries}
    newest = dict.fromkeys(_of_champion(scope), log.entries[-1])
    return {key: selected(log, entry) for key, entry in (configs | newest).items()}


def _same(pointer: ModelSelected | None, message: ModelSelected) -> bool:
    """Whether a pointer says this; one of version 1 names no digest."""
    if pointer is not None and pointer.v == 1:
        message = message.model_copy(update={"v": 1, "entry_sha256": None})
    return pointer == message


def _stands(log: Chain, pointer: ModelSelected) -> bool:
    """Whether the entry that a pointer names is in the log."""
    number = pointer.promotion
    return number <= len(log.entries) and _same(pointer, selected(log, log.entries[number - 1]))


def _announce(bus: Bus, message: ModelSelected, taken_back: ModelSelected | None) -> MessageRef | None:
    if taken_back is not None:
        message = message.model_copy(update={"replaces": taken_back.event_id})
        events.emit(
            events.PromotionLogReplaced(scope=message.scope, was=taken_back.promotion, promotion=message.promotion)
        )
    place = bus.publish(message.topic, message.key, message.to_bytes())
    events.emit(
        events.PromotionPublish(
            config_hash=message.config_hash,
            scope=message.scope,
            promotion=message.promotion,
            event_id=message.event_id,
        )
    )
    return None if place is None else MessageRef(event_id=message.event_id, **asdict(place))


def _drop_pointers(store: Store, scope: str, log: Chain) -> None:
    """Take away the pointers of configurations whose promotions are no longer in the log."""
    kept = _pointers(read_chain(store, scope, log), scope)
    for key in store.list(f"model-promotion/{scope}/"):
        if layout.is_config_pointer(key) and key not in kept:
            take_away(store, key, at="promote.pointer.gone")


def _point(store: Store, key: str, message: ModelSelected) -> None:
    if layout.is_config_pointer(key):
        point_at(store, key, message.to_bytes(), at="promote.pointer.config")
    else:
        point_at(
            store,
            key,
            message.to_bytes(),
            at="promote.pointer.root" if key == layout.root_pointer() else "promote.pointer.scope",
        )
