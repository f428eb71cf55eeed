"""The promotion log: a chain that only grows, however many write it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.stored import StoppedClock, Watched, contents, grow, promoted, put_log

from flts.backends.store import memory_store, open_store
from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion.log import append, next_entry, read_log, rollback_target

THREADS = 8


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return memory_store() if request.param == "memory" else open_store(tmp_path.as_uri())


def three() -> list[LogEntry]:
    entries: list[LogEntry] = []
    for model in ("a", "b", "c"):
        grow(entries, model)
    return entries


def test_an_empty_log_has_no_entries(store: Store) -> None:
    assert read_log(store, "global") == []


def test_entries_read_back_in_order_and_each_names_the_digest_of_the_one_before(store: Store) -> None:
    put_log(store, three())
    found = read_log(store, "global")
    assert found == three()
    assert [entry.number for entry in found] == [1, 2, 3]
    stored = list(contents(store, layout.log("global")).values())
    assert [entry.previous_sha256 for entry in found] == [None, sha256(stored[0]), sha256(stored[1])]


def test_scopes_have_logs_of_their_own_even_where_one_name_starts_with_another(store: Store) -> None:
    ours: list[LogEntry] = []
    grow(ours, "a", scope="ab")
    put_log(store, ours)
    assert read_log(store, "a") == read_log(store, "abc") == []
    assert read_log(store, "ab") == ours


def test_entries_of_an_earlier_reading_are_not_read_again_and_the_chain_goes_on_from_them() -> None:
    watched = Watched(memory_store())
    entries = three()
    put_log(watched, entries)
    assert read_log(watched, "global", entries[:2]) == entries
    assert watched.read == [layout.log_entry("global", 3)]
    other = promoted("other")
    with pytest.raises(DamagedObject, match="does not follow the entry before it"):
        read_log(watched, "global", [entries[0], entries[1].model_copy(update={"champion": other})])


def test_a_missing_entry_in_the_middle_is_a_gap_that_is_named(store: Store) -> None:
    entries = three()
    put_log(store, [entries[0], entries[2]])
    with pytest.raises(DamagedObject, match=r"log of 'global' has a gap: .*/log/00000002.json is absent"):
        read_log(store, "global")


def test_a_missing_first_entry_is_a_gap_that_is_named(store: Store) -> None:
    put_log(store, three()[1:])
    with pytest.raises(DamagedObject, match=r"00000001.json is absent"):
        read_log(store, "global")


def changed(number: int, **fields: object) -> bytes:
    return three()[number - 1].model_copy(update=fields).to_bytes()


@pytest.mark.parametrize(
    ("number", "data", "said"),
    [
        pytest.param(2, b"", "00000002.json in .* is damaged: not JSON", id="empty"),
        pytest.param(2, b"not json", "00000002.json in .* is damaged: not JSON", id="no JSON"),
        pytest.param(2, b"{}", "00000002.json in .* is damaged: v: ", id="no fields"),
        pytest.param(3, changed(2), "00000003.json is damaged: it does not follow", id="another number"),
        pytest.param(
            2, changed(2, previous_sha256=None), "00000002.json is damaged: it does not follow", id="no digest"
        ),
        pytest.param(1, changed(1, actor="x"), "00000002.json is damaged: it does not follow", id="rewritten"),
        pytest.param(1, changed(1, previous_sha256=digest(0)), "00000001.json is damaged", id="a first that is not"),
    ],
)
def test_a_changed_entry_is_found_and_named(store: Store, number: int, data: bytes, said: str) -> None:
    put_log(store, three())
    store.replace(layout.log_entry("global", number), data)
    with pytest.raises(DamagedObject, match=said):
        read_log(store, "global")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unknown": 1}, "is damaged: unknown: "),
        ({"kind": "coup"}, "is damaged: kind: "),
        ({"champion": {}}, "is damaged: champion.config_hash: "),
        ({"v": 2}, "in version 2 of its format"),
    ],
)
def test_an_entry_of_an_unknown_form_is_refused_with_its_field(
    store: Store, change: dict[str, object], said: str
) -> None:
    entry = json.loads(three()[0].to_bytes()) | change
    store.create(layout.log_entry("global", 1), json.dumps(entry).encode())
    with pytest.raises(DamagedObject, match=rf"00000001.json in .* {said}|00000001.json in .* was written .* {said}"):
        read_log(store, "global")


def test_appending_writes_what_is_proposed_under_the_next_number(store: Store) -> None:
    put_log(store, three())

    def propose(entries: Sequence[LogEntry]) -> LogEntry:
        return next_entry(entries, "global", "manual", promoted("d"), digest("d"), "me", "now")

    entry = append(store, "global", propose)
    assert entry is not None
    assert read_log(store, "global") == [*three(), entry]
    assert (entry.number, entry.kind, entry.champion.model, entry.actor) == (4, "manual", "d", "me")


def test_proposing_nothing_writes_nothing(store: Store) -> None:
    put_log(store, three())
    before = contents(store)
    assert append(store, "global", lambda entries: None) is None
    assert contents(store) == before


def test_who_loses_the_number_is_asked_again_with_the_log_that_has_the_winners_entry() -> None:
    store = memory_store()
    asked: list[int] = []

    def rival(key: str) -> None:
        if len(read_log(store, "global")) < 2:
            put_log(store, three()[: len(read_log(store, "global")) + 1])

    def propose(entries: Sequence[LogEntry]) -> LogEntry:
        asked.append(len(entries))
        return next_entry(entries, "global", "promote", promoted("mine"), digest("mine"), "me", "now")

    entry = append(Watched(store, rival), "global", propose)
    assert asked == [0, 1, 2]
    assert entry is not None
    assert entry.number == 3
    assert [e.champion.model for e in read_log(store, "global")] == ["a", "b", "mine"]


def test_who_finds_nothing_left_to_propose_after_losing_leaves_the_winners_entry_alone() -> None:
    store = memory_store()

    def propose(entries: Sequence[LogEntry]) -> LogEntry | None:
        if entries:
            return None
        return next_entry(entries, "global", "promote", promoted("mine"), digest("mine"), "me", "now")

    assert append(Watched(store, lambda key: put_log(store, three()[:1])), "global", propose) is None
    assert read_log(store, "global") == three()[:1]


def test_threads_that_append_at_once_give_one_entry_per_number_and_lose_none(store: Store) -> None:
    barrier = threading.Barrier(THREADS)
    asked: dict[int, list[int]] = {who: [] for who in range(THREADS)}

    def work(who: int) -> LogEntry | None:
        def propose(entries: Sequence[LogEntry]) -> LogEntry:
            asked[who].append(len(entries))
            champion = promoted(f"model-{who}")
            return next_entry(entries, "global", "promote", champion, digest(who), str(who), "now")

        barrier.wait()
        return append(store, "global", propose)

    with ThreadPoolExecutor(THREADS) as pool:
        mine = list(pool.map(work, range(THREADS)))
    found = read_log(store, "global")
    assert [entry.number for entry in found] == list(range(1, THREADS + 1))
    assert {entry.decision_id for entry in found} == {digest(who) for who in range(THREADS)}
    for who, entry in enumerate(mine):
        assert entry is not None
        assert entry in found
        assert entry.actor == str(who)
        assert asked[who] == sorted(set(asked[who]))
        assert asked[who][-1] == entry.number - 1


@pytest.mark.parametrize(
    ("history", "restored"),
    [
        ("a b", "a"),
        ("a b c", "b"),
        ("a b c <", "a"),
        ("a b < c", "a"),
        ("a b c < d", "b"),
        ("a b c < d <", "a"),
        ("a b c < < d", "a"),
        ("a !b", "a"),
        ("a b !c < !d e", "d"),
        ("a b a", "b"),
    ],
)
def test_a_rollback_brings_back_who_stood_before_the_current_champion_was_made(history: str, restored: str) -> None:
    """`a` promotes model a, `!a` makes it champion by hand, `<` rolls back."""
    entries: list[LogEntry] = []
    for step in history.split():
        if step == "<":
            grow(entries, rollback_target(entries, "global").champion.model, "rollback")
        else:
            grow(entries, step.removeprefix("!"), "manual" if step.startswith("!") else "promote")
    assert rollback_target(entries, "global").champion.model == restored


@pytest.mark.parametrize("history", [[], ["promote"], ["manual"], ["promote", "promote", "rollback"]])
def test_with_no_earlier_champion_there_is_nothing_to_roll_back_to(history: list[str]) -> None:
    entries: list[LogEntry] = []
    for kind in history:
        grow(entries, "a", kind)
    with pytest.raises(UsageError, match="scope 'global' has no earlier champion to roll back to"):
        rollback_target(entries, "global")


def test_an_entry_keeps_its_bytes_through_reading_and_writing() -> None:
    entry = next_entry([], "global", "promote", promoted("a"), digest("a"), "me", StoppedClock().now().isoformat())
    assert LogEntry.model_validate_json(entry.to_bytes()).to_bytes() == entry.to_bytes()
