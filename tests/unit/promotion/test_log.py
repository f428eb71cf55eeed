"""The promotion log: an append-only chain, however many processes write it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from tests.support.raising import raises
from tests.support.stored import MOMENT, StoppedClock, Watched, chain, contents, grow, promoted, put_log

from flts.backends.store import memory_store, open_store
from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import Upgrade
from flts.contracts.records.log import LogEntry
from flts.promotion import log as log_module
from flts.promotion.log import (
    MEND,
    NOTHING,
    Chain,
    Head,
    append,
    head,
    next_entry,
    read_chain,
    read_log,
    rollback_target,
    served,
)

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
    entries = read_log(store, "global")
    assert entries == three()
    assert [entry.number for entry in entries] == [1, 2, 3]
    stored = list(contents(store, layout.log("global")).values())
    assert [entry.previous_sha256 for entry in entries] == [None, sha256(stored[0]), sha256(stored[1])]


def test_every_scope_has_its_own_log_even_where_one_name_starts_with_another(store: Store) -> None:
    ours: list[LogEntry] = []
    grow(ours, "a", scope="ab")
    put_log(store, ours)
    assert read_log(store, "a") == read_log(store, "abc") == []
    assert read_log(store, "ab") == ours


def test_entries_that_were_read_before_are_not_read_again_and_the_chain_continues_from_them() -> None:
    watched = Watched(memory_store())
    entries = three()
    put_log(watched, entries)
    known = chain(entries[:2])
    assert read_chain(watched, "global", known) == chain(entries)
    assert watched.read == [layout.log_entry("global", 2), layout.log_entry("global", 3)]


def test_what_was_read_before_counts_only_while_it_stands_in_the_log(store: Store) -> None:
    entries = three()
    put_log(store, entries)
    assert read_chain(store, "global", replace(chain(entries[:2]), head=sha256(b"other"))) == chain(entries)
    store.erase(layout.log_entry("global", 3))
    assert read_chain(store, "global", chain(entries)) == chain(entries[:2])
    other = entries[:1]
    grow(other, "x")
    store.replace(layout.log_entry("global", 2), other[1].to_bytes())
    assert read_chain(store, "global", chain(entries)) == chain(other)
    store.erase(layout.log_entry("global", 2))
    store.erase(layout.log_entry("global", 1))
    assert read_chain(store, "global", chain(entries)) == Chain([])
    entry = append(store, "global", proposed, chain(entries))
    assert entry is not None
    assert (entry.number, entry.previous_sha256) == (1, None)


def text(number: int) -> str:
    return three()[number - 1].to_bytes().decode()


@pytest.mark.parametrize(
    "data",
    [text(3).encode() + b"\n", b"\n " + text(3).encode(), json.dumps(json.loads(text(3)), indent=2).encode()],
    ids=["newline", "blanks before", "indented"],
)
def test_an_entry_with_other_blanks_passes_and_can_be_appended_to(store: Store, data: bytes) -> None:
    put_log(store, three())
    store.replace(layout.log_entry("global", 3), data)
    assert read_log(store, "global") == three()
    entry = append(store, "global", proposed)
    assert entry is not None
    assert read_log(store, "global") == [*three(), entry]


@pytest.mark.parametrize(
    "data",
    [
        text(3).replace('"number":3', '"number":3.0').encode(),
        text(3).replace('"number":3', '"number":"3"').encode(),
        text(3).replace('"scope":"global"', '"scope":"north"').encode(),
        b"\xef\xbb\xbf" + text(3).encode(),
        text(3).encode() + b"\0",
        text(3).encode() * 2,
        text(3).encode()[:-1],
        text(3).replace('"kind":"promote"', '"kind":"Promote"').encode(),
    ],
    ids=["3.0", "'3'", "another scope", "byte order mark", "zero byte", "twice", "cut", "kind"],
)
def test_an_odd_newest_entry_is_refused_with_the_mend_and_poisons_no_append(store: Store, data: bytes) -> None:
    put_log(store, three())
    key = layout.log_entry("global", 3)
    store.replace(key, data)
    before = contents(store)
    for act in (lambda: read_log(store, "global"), lambda: append(store, "global", proposed)):
        with pytest.raises(DamagedObject) as caught:
            act()
        assert caught.value.data["key"] == key
        assert str(caught.value).endswith(MEND)
    assert contents(store) == before
    store.erase(key)  # as the mend says
    entry = append(store, "global", proposed)
    assert entry is not None
    assert read_log(store, "global") == [*three()[:2], entry]


@pytest.mark.parametrize(
    "history", [["rollback"], ["promote", "rollback"], ["promote", "manual", "rollback", "rollback"]]
)
def test_a_rollback_without_an_earlier_champion_is_refused_with_the_mend(store: Store, history: list[str]) -> None:
    entries: list[LogEntry] = []
    for kind in history:
        grow(entries, "a", kind)
    put_log(store, entries)
    key = layout.log_entry("global", len(history))
    with raises(DamagedObject, code="log-rollback-unfounded", key=key) as caught:
        read_log(store, "global")
    assert str(caught.value).endswith(MEND)
    known = chain(entries[:-1])
    with raises(DamagedObject, code="log-rollback-unfounded", key=key):
        read_chain(store, "global", known)


class NewerEntry(LogEntry):
    """An entry as a later version of the format may have it."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {2: lambda record: {**record, "cause": "unknown"}}

    v: Literal[3] = 3  # type: ignore[assignment]
    cause: str = ""


def proposed(log: Chain) -> LogEntry:
    return next_entry(log, "global", "manual", promoted("d"), digest("d"), "me", MOMENT)


def test_a_log_of_an_older_format_goes_on_in_the_newer_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_log(store, three())
    monkeypatch.setattr(log_module, "LogEntry", NewerEntry)
    entry = append(store, "global", proposed)
    assert entry is not None
    stored = list(contents(store, layout.log("global")).values())
    assert entry.previous_sha256 == sha256(stored[2])
    assert [entry.v for entry in read_log(store, "global")] == [3, 3, 3, 3]
    assert [json.loads(data)["v"] for data in stored] == [2, 2, 2, 3]


def test_a_log_goes_on_after_an_entry_that_was_not_stored_as_canonical_json(store: Store) -> None:
    put_log(store, three())
    spaced = json.dumps(json.loads(three()[2].to_bytes()), indent=1).encode()
    store.replace(layout.log_entry("global", 3), spaced)
    entry = append(store, "global", proposed)
    assert entry is not None
    assert entry.previous_sha256 == sha256(spaced)
    assert read_log(store, "global") == [*three(), entry]


def test_an_absent_entry_in_the_middle_is_named_as_a_gap(store: Store) -> None:
    entries = three()
    put_log(store, [entries[0], entries[2]])
    with raises(DamagedObject, code="log-gap", key=layout.log_entry("global", 2)):
        read_log(store, "global")


def test_an_absent_first_entry_is_named_as_a_gap(store: Store) -> None:
    put_log(store, three()[1:])
    with raises(DamagedObject, code="log-gap", key=layout.log_entry("global", 1)):
        read_log(store, "global")


@pytest.mark.parametrize(
    "beside",
    [
        ".DS_Store",
        "00000001 copy.json",
        "00000002.json.bak",
        "2.json",
        "old/00000001.json",
        "000000004.json",
        "00000000.json",
        "00000004.json~",
        ".00000004.json.swp",
    ],
)
def test_what_lies_beside_the_entries_is_no_entry(store: Store, beside: str) -> None:
    put_log(store, three())
    store.create(layout.log("global") + beside, b"x")
    assert read_log(store, "global") == three()
    assert read_chain(store, "global", chain(three()[:2])).entries == three()


def changed(number: int, **fields: object) -> bytes:
    return three()[number - 1].model_copy(update=fields).to_bytes()


@pytest.mark.parametrize(
    ("number", "data", "code", "damaged"),
    [
        pytest.param(2, b"", "record-damaged", 2, id="empty"),
        pytest.param(2, b"not json", "record-damaged", 2, id="not JSON"),
        pytest.param(2, b"{}", "record-damaged", 2, id="no fields"),
        pytest.param(3, changed(2), "record-misplaced", 3, id="another number"),
        pytest.param(2, changed(2, previous_sha256=None), "log-chain-broken", 2, id="no digest"),
        pytest.param(1, changed(1, actor="x"), "log-chain-broken", 2, id="rewritten"),
        pytest.param(1, changed(1, previous_sha256=digest(0)), "log-chain-broken", 1, id="a first that is not"),
    ],
)
def test_a_changed_entry_is_named_with_what_to_do(
    store: Store, number: int, data: bytes, code: str, damaged: int
) -> None:
    put_log(store, three())
    store.replace(layout.log_entry("global", number), data)
    with raises(DamagedObject, code=code, key=layout.log_entry("global", damaged)) as caught:
        read_log(store, "global")
    assert str(caught.value).endswith(MEND)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"unknown": 1}, "record-damaged", "unknown"),
        ({"kind": "coup"}, "record-damaged", "kind"),
        ({"champion": {}}, "record-damaged", "champion.config_hash"),
        ({"decision_id": "d"}, "record-damaged", "decision_id"),
        ({"scope": "../x"}, "record-damaged", "scope"),
        ({"scope": "north"}, "record-misplaced", "scope"),
        ({"number": 0}, "record-damaged", "number"),
        ({"v": 3}, "record-newer", None),
    ],
)
def test_an_entry_of_an_unknown_form_is_refused_with_its_field(
    store: Store, change: dict[str, object], code: str, field: str | None
) -> None:
    entry = json.loads(three()[0].to_bytes()) | change
    store.create(layout.log_entry("global", 1), json.dumps(entry).encode())
    with raises(DamagedObject, code=code, key=layout.log_entry("global", 1)) as caught:
        read_log(store, "global")
    fields = caught.value.data.get("fields", [None])
    assert isinstance(fields, Sequence)
    assert fields[0] == field


def test_appending_writes_what_is_proposed_under_the_next_number(store: Store) -> None:
    put_log(store, three())

    def propose(log: Chain) -> LogEntry:
        return next_entry(log, "global", "manual", promoted("d"), digest("d"), "me", MOMENT)

    entry = append(store, "global", propose)
    assert entry is not None
    assert read_log(store, "global") == [*three(), entry]
    assert (entry.number, entry.kind, entry.champion.model, entry.actor) == (4, "manual", "d", "me")


def test_proposing_nothing_writes_nothing(store: Store) -> None:
    put_log(store, three())
    before = contents(store)
    assert append(store, "global", lambda log: None) is None
    assert contents(store) == before


def test_a_proposer_that_loses_the_number_is_called_again_with_the_longer_log() -> None:
    store = memory_store()
    asked: list[int] = []

    def rival(key: str) -> None:
        if len(read_log(store, "global")) < 2:
            put_log(store, three()[: len(read_log(store, "global")) + 1])

    def propose(log: Chain) -> LogEntry:
        asked.append(len(log.entries))
        return next_entry(log, "global", "promote", promoted("mine"), digest("mine"), "me", MOMENT)

    entry = append(Watched(store, rival), "global", propose)
    assert asked == [0, 1, 2]
    assert entry is not None
    assert entry.number == 3
    assert [e.champion.model for e in read_log(store, "global")] == ["a", "b", "mine"]


def test_a_proposer_that_loses_the_number_and_proposes_nothing_more_leaves_the_first_entry_alone() -> None:
    store = memory_store()

    def propose(log: Chain) -> LogEntry | None:
        if log.entries:
            return None
        return next_entry(log, "global", "promote", promoted("mine"), digest("mine"), "me", MOMENT)

    assert append(Watched(store, lambda key: put_log(store, three()[:1])), "global", propose) is None
    assert read_log(store, "global") == three()[:1]


def test_concurrent_appends_give_one_entry_per_number_and_lose_none(store: Store) -> None:
    barrier = threading.Barrier(THREADS)
    asked: dict[int, list[int]] = {writer: [] for writer in range(THREADS)}

    def work(writer: int) -> LogEntry | None:
        def propose(log: Chain) -> LogEntry:
            asked[writer].append(len(log.entries))
            champion = promoted(f"model-{writer}")
            return next_entry(log, "global", "promote", champion, digest(writer), str(writer), MOMENT)

        barrier.wait()
        return append(store, "global", propose)

    with ThreadPoolExecutor(THREADS) as pool:
        mine = list(pool.map(work, range(THREADS)))
    found = read_log(store, "global")
    assert [entry.number for entry in found] == list(range(1, THREADS + 1))
    assert {entry.decision_id for entry in found} == {digest(writer) for writer in range(THREADS)}
    for writer, entry in enumerate(mine):
        assert entry is not None
        assert entry in found
        assert entry.actor == str(writer)
        assert asked[writer] == sorted(set(asked[writer]))
        assert asked[writer][-1] == entry.number - 1


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
def test_a_rollback_restores_the_champion_before_the_current_one(history: str, restored: str) -> None:
    """`a` promotes model a, `!a` makes it champion by hand, `<` rolls back."""
    entries: list[LogEntry] = []
    for step in history.split():
        if step == "<":
            grow(entries, rollback_target(entries, "global").champion.model, "rollback")
        else:
            grow(entries, step.removeprefix("!"), "manual" if step.startswith("!") else "promote")
    assert rollback_target(entries, "global").champion.model == restored


@pytest.mark.parametrize("history", [[], ["promote"], ["manual"], ["promote", "promote", "rollback"]])
def test_without_an_earlier_champion_a_rollback_is_refused(history: list[str]) -> None:
    entries: list[LogEntry] = []
    for kind in history:
        grow(entries, "a", kind)
    with raises(UsageError, code="no-earlier-champion", scope="global"):
        rollback_target(entries, "global")


def test_an_entry_keeps_its_bytes_through_reading_and_writing() -> None:
    entry = next_entry(Chain(), "global", "promote", promoted("a"), digest("a"), "me", StoppedClock().now().isoformat())
    assert LogEntry.model_validate_json(entry.to_bytes()).to_bytes() == entry.to_bytes()


@pytest.mark.parametrize("scope", ["../x", "", "North", "a/b", "current.json", "x" * 64])
def test_what_is_not_a_scope_is_a_mistake_of_the_caller(store: Store, scope: str) -> None:
    with raises(UsageError, code="scope-invalid", scope=scope):
        read_log(store, scope)
    with raises(UsageError, code="scope-invalid", scope=scope):
        append(store, scope, proposed)
    assert contents(store) == {}


def test_the_head_is_the_newest_entry_as_it_is_stored(store: Store) -> None:
    entries = three()
    assert head(store, "global") == NOTHING
    put_log(store, entries)
    store.create(f"{layout.log('global')}notes.txt", b"a note that somebody put beside them")
    found = head(store, "global")
    assert found == Head(3, chain(entries).head)
    watched = Watched(store)
    assert head(watched, "global", found) == found
    assert (watched.read, watched.listed) == ([layout.log_entry("global", 3)], [])
    assert head(store, "global", Head(2, chain(entries[:2]).head)) == found
    store.erase(layout.log_entry("global", 3))
    assert head(store, "global", found) == Head(2, chain(entries[:2]).head)
    store.replace(layout.log_entry("global", 2), b"{}")
    assert head(store, "global", found) == Head(2, sha256(b"{}"))


def test_a_server_reads_of_a_log_what_it_does_not_know(store: Store) -> None:
    entries = three()
    put_log(store, entries[:2])
    known = served(store, "global")
    put_log(store, entries)
    watched = Watched(store)
    assert list(served(watched, "global", known).entries) == entries
    assert watched.read == [layout.log_entry("global", number) for number in (2, 3)]
