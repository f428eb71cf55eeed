"""The contract of a Store, stated once and run on every backend."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from tests.support.raising import raises
from tests.support.servers import s3_prefix

from flts.backends.large import STAGING
from flts.backends.store import CHUNK, memory_store, open_store
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, FltsError, MachineFailed, NameTaken, StageFailed, UsageError
from flts.contracts.listing import in_order
from flts.contracts.ports import PART, Store, Stored, StreamedStore, read_checked
from flts.stack.s3 import S3

THREADS = 8
ODD_KEYS = [
    "with space/and more.json",
    "ünïcødé/日本.json",
    "percent/50%/half%25.json",
    "question/a?b=c&d=e+f",
    "brackets/[a]{b}(c)*",
    "dots/.hidden/..name",
    "back/a\\b",
    'quote/it\'s "so"',
    "deep/" + "a/" * 30 + "z",
    "long/" + "n" * 200,
]


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StreamedStore:
    """An empty store of each kind; the local one in a folder, the one in S3 under a prefix, that needs quoting."""
    match request.param:
        case "memory":
            return memory_store()
        case "local":
            return open_store((tmp_path / "a folder #1").as_uri())
        case _:
            return open_store(s3_prefix(request.getfixturevalue("s3_server"), monkeypatch))


def together(work: Callable[[int], bool]) -> list[bool]:
    """The results of `work(number)` in threads that start at the same moment."""
    barrier = threading.Barrier(THREADS)

    def start(number: int) -> bool:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


def staged(store: Any) -> list[str]:
    """The keys below the staging prefix, which lists of a store leave out."""
    return [str(item["path"]) for item in obstore.list(store._store, prefix=STAGING).collect()]


class TestStore:
    """Every test runs on every store."""

    def test_an_absent_object_reads_as_none_and_does_not_exist(self, store: Store) -> None:
        assert store.get("no/such") is None
        assert store.exists("no/such") is False
        assert list(store.list("no/")) == []

    def test_a_created_object_reads_back_byte_for_byte(self, store: Store) -> None:
        data = bytes(range(256)) * 5000
        assert store.create("a/b", data) is True
        assert store.get("a/b") == data
        assert store.exists("a/b") is True

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        assert store.create("a/empty", b"")
        assert store.get("a/empty") == b""
        assert store.exists("a/empty")
        assert not store.create("a/empty", b"x")

    def test_an_erased_object_is_absent_and_can_be_created_again(self, store: Store) -> None:
        assert store.create("a/b", b"first")
        assert store.create("a/c", b"kept")
        store.erase("a/b")
        store.erase("a/b")
        assert store.get("a/b") is None
        assert list(store.list("a/")) == ["a/c"]
        assert store.create("a/b", b"second")
        assert store.get("a/b") == b"second"

    def test_creating_an_existing_object_is_refused_and_changes_nothing(self, store: Store) -> None:
        assert store.create("a/b", b"first")
        assert store.create("a/b", b"second") is False
        assert store.create("a/b", b"first") is False
        assert store.get("a/b") == b"first"

    def test_of_eight_threads_that_create_the_same_object_exactly_one_wins(self, store: Store) -> None:
        for attempt in range(5 if store.url.startswith("s3:") else 15):  # on S3, the losers wait before they look again
            key = f"race/{attempt}"
            payloads = [bytes([number]) * 20_000 for number in range(THREADS)]

            def create(number: int, key: str = key, payloads: list[bytes] = payloads) -> bool:
                return store.create(key, payloads[number])

            won = together(create)
            assert sum(won) == 1
            assert store.get(key) == payloads[won.index(True)]

    @pytest.mark.parametrize("extra", [0, 1, 3 * PART])
    def test_an_object_too_large_for_one_request_is_created_once_and_reads_back_the_same(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, extra: int
    ) -> None:
        monkeypatch.setattr("flts.backends.large.ONE_REQUEST", 2 * PART)
        data = os.urandom(2 * PART + extra)
        assert store.create("a/b", data) is True
        assert store.create("a/b", data) is False
        assert store.create("a/b", data[::-1]) is False
        assert store.get("a/b") == data
        assert list(store.list("")) == ["a/b"]

    @pytest.mark.parametrize("same", [True, False])
    def test_of_eight_threads_that_create_the_same_large_object_one_wins_and_nothing_else_is_left(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, same: bool
    ) -> None:
        monkeypatch.setattr("flts.backends.large.ONE_REQUEST", PART)
        for attempt in range(3):
            key = f"race/{attempt}"
            payloads = [bytes([0 if same else number]) * (PART + 1) for number in range(THREADS)]

            def create(number: int, key: str = key, payloads: list[bytes] = payloads) -> bool:
                return store.create(key, payloads[number])

            won = together(create)
            assert sum(won) == 1
            assert store.get(key) == payloads[won.index(True)]
        assert list(store.list("")) == [f"race/{attempt}" for attempt in range(3)]
        assert staged(store) == []

    def test_replace_writes_absent_and_existing_objects(self, store: Store) -> None:
        store.replace("a/pointer", b"one")
        assert store.get("a/pointer") == b"one"
        store.replace("a/pointer", b"two, and longer")
        store.replace("a/pointer", b"3")
        assert store.get("a/pointer") == b"3"
        assert not store.create("a/pointer", b"four")

    def test_a_reader_sees_the_old_or_the_new_object_and_never_a_mixture(self, store: Store) -> None:
        versions = [bytes([number]) * 300_000 for number in range(4)]
        store.replace("a/pointer", versions[0])
        done = threading.Event()
        whole: list[bool] = []

        def read() -> None:
            last = False
            while not last:
                last = done.is_set()
                whole.append(store.get("a/pointer") in versions)

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(60):
            store.replace("a/pointer", versions[turn % 4])
        done.set()
        reader.join()
        assert all(whole)

    def test_a_reader_sees_a_new_object_whole_or_not_at_all(self, store: Store) -> None:
        data = bytes(1_000_000)
        done = threading.Event()
        whole: list[bool] = []
        listed: set[str] = set()

        def read() -> None:
            last = False
            while not last:
                last = done.is_set()
                listed.update(store.list("new/"))
                whole.extend(store.get(key) == data for key in listed)

        reader = threading.Thread(target=read)
        reader.start()
        keys = {f"new/{number}" for number in range(25)}
        for key in sorted(keys):
            store.create(key, data)
        done.set()
        reader.join()
        assert all(whole)
        assert listed == keys

    def test_a_list_is_sorted_and_holds_every_key_under_the_prefix(self, store: Store) -> None:
        for key in ("b/2", "b/10", "b/1", "a/1", "b/deep/er/1", "c"):
            store.create(key, b"x")
        assert list(store.list("b/")) == ["b/1", "b/10", "b/2", "b/deep/er/1"]
        assert list(store.list("")) == ["a/1", "b/1", "b/10", "b/2", "b/deep/er/1", "c"]

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("runs/ab", ["runs/ab/1", "runs/ab/2", "runs/abc/1"]),
            ("runs/ab/", ["runs/ab/1", "runs/ab/2"]),
            ("runs/abc/1", ["runs/abc/1"]),
            ("run", ["runs/ab/1", "runs/ab/2", "runs/abc/1", "runs/b/1"]),
            ("runs/abcd", []),
            ("uns/", []),
        ],
    )
    def test_a_prefix_need_not_end_at_a_folder(self, store: Store, prefix: str, expected: list[str]) -> None:
        for key in ("runs/ab/1", "runs/ab/2", "runs/abc/1", "runs/b/1", "other/1"):
            store.create(key, b"x")
        assert list(store.list(prefix)) == expected

    def test_it_says_when_each_object_under_a_prefix_was_last_written(self, store: StreamedStore) -> None:
        before = datetime.now(UTC)
        for key in ("runs/ab/1/claim.json", "runs/ab/1/judge.json", "runs/abc/1/claim.json", "other/claim.json"):
            store.create(key, b"x")
        found = store.dated("runs/ab", "/claim.json")
        assert sorted(found) == ["runs/ab/1/claim.json", "runs/abc/1/claim.json"]
        assert sorted(store.dated("runs/ab/")) == ["runs/ab/1/claim.json", "runs/ab/1/judge.json"]
        allowed = timedelta(seconds=2)  # S3 counts whole seconds
        assert all(before - allowed <= at <= datetime.now(UTC) + allowed for at in found.values())
        assert store.dated("nothing/") == {}

    @pytest.mark.parametrize(
        ("folder", "after", "expected"),
        [
            ("runs/", "", ["runs/ab/1", "runs/ab/2", "runs/abc/d/1", "runs/b"]),
            ("runs/", "runs/ab/1", ["runs/ab/2", "runs/abc/d/1", "runs/b"]),
            ("runs/", "runs/b", []),
            ("runs/", "runs/abc/d/1", ["runs/b"]),
            ("runs/ab/", "", ["runs/ab/1", "runs/ab/2"]),
            ("runs/ab/", "runs/ab/11", ["runs/ab/2"]),
            ("runs/abcd/", "", []),
            ("runs/b/", "", []),
            ("absent/", "absent/x", []),
        ],
    )
    def test_the_first_keys_of_a_folder_after_one_are_found(
        self, store: Store, folder: str, after: str, expected: list[str]
    ) -> None:
        for key in ("runs/ab/2", "runs/abc/d/1", "runs/b", "other/1", "runs/ab/1"):
            store.create(key, b"x")
        for most in range(6):
            assert list(store.first(folder, most, after)) == expected[:most]

    def test_more_keys_than_one_answer_holds_are_found_page_by_page(self, store: Store) -> None:
        keys = [f"runs/{number // 50:02}/{number:04}" for number in range(1100)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: store.create(key, b"x"), keys))
        assert list(store.first("runs/", 5000)) == keys
        found: list[str] = []
        while page := store.first("runs/", 300, found[-1] if found else ""):
            found += page
        assert found == keys

    def test_the_folders_right_below_a_folder_are_found(self, store: Store) -> None:
        for key in ("runs/ab/x/1", "runs/b", "runs/abc/1", "runs/ab/y", "other/1"):
            store.create(key, b"x")
        assert list(store.folders("runs/")) == ["runs/ab/", "runs/abc/"]
        assert list(store.folders("runs/ab/")) == ["runs/ab/x/"]
        assert list(store.folders("runs/abc/")) == list(store.folders("absent/")) == []

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys_are_written_read_and_listed_under_their_own_name(self, store: Store, key: str) -> None:
        if "\\" in key and store.url.startswith("s3:"):
            pytest.skip("SeaweedFS turns it into a slash; no key of the pipeline has one")
        assert store.create(key, key.encode())
        assert store.get(key) == key.encode()
        assert store.exists(key)
        assert list(store.list(key.split("/", maxsplit=1)[0] + "/")) == [key]
        assert not store.create(key, b"other")
        store.replace(key, b"other")
        assert store.get(key) == b"other"

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a//b", "a/./b"])
    def test_a_key_that_could_leave_the_root_or_has_two_forms_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises((ValueError, FltsError)):
            store.create(key, b"x")
        assert list(store.list("")) == []

    def test_a_folder_of_objects_is_not_an_object(self, store: Store) -> None:
        store.create("folder/object", b"x")
        assert store.get("folder") is None
        assert store.exists("folder") is False
        assert store.create("folder2", b"y")
        assert list(store.list("folder")) == ["folder/object", "folder2"]


class ClientGone(Exception):
    """The end of an upload whose client has left."""


async def in_chunks(*sizes: int, end: BaseException | None = None) -> AsyncIterator[bytes]:
    """Chunks of these sizes, each of another letter; then the end, or an error."""
    for number, size in enumerate(sizes):
        yield bytes([97 + number % 26]) * size
    if end is not None:
        raise end


def joined(*sizes: int) -> bytes:
    """The bytes of `in_chunks`."""
    return b"".join(bytes([97 + number % 26]) * size for number, size in enumerate(sizes))


async def read(store: StreamedStore, stored: Stored, start: int, end: int) -> list[bytes] | None:
    """The chunks of a range, or None when the object has changed."""
    chunks = await store.stream(stored, start, end)
    return None if chunks is None else [chunk async for chunk in chunks]


async def seen(store: StreamedStore, key: str) -> Stored:
    """An object that must exist."""
    stored = await store.look(key)
    assert stored is not None
    return stored


LARGE = (PART // 2, PART, 3, PART // 4)
"""Chunks of an object of several parts."""


class TestStreams:
    """What a store owes who cannot hold an object in memory; every test runs on every store."""

    @pytest.mark.parametrize("sizes", [(), (0,), (1, 2, 3), (PART,), (PART, 1), LARGE], ids=lambda s: str(sum(s)))
    def test_an_upload_in_chunks_reads_back_whole_and_in_parts(
        self, store: StreamedStore, sizes: tuple[int, ...]
    ) -> None:
        async def check() -> None:
            data = joined(*sizes)
            etag = await store.upload("a/b", in_chunks(*sizes))
            stored = await seen(store, "a/b")
            assert (stored.key, stored.size, stored.etag) == ("a/b", len(data), etag)
            assert stored.etag.startswith('"')
            assert stored.modified.tzinfo is not None
            chunks = await read(store, stored, 0, len(data))
            assert chunks is not None
            assert b"".join(chunks) == data
            assert max(map(len, chunks), default=0) <= CHUNK
            assert store.get("a/b") == data

        asyncio.run(check())

    @pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 5), (3, PART + 7), (PART - 1, PART + 1), (PART, 2 * PART)])
    def test_a_range_is_exactly_its_bytes(self, store: StreamedStore, start: int, end: int) -> None:
        async def check() -> None:
            await store.upload("a/b", in_chunks(*LARGE, PART))
            chunks = await read(store, await seen(store, "a/b"), start, end)
            assert chunks is not None
            assert b"".join(chunks) == joined(*LARGE, PART)[start:end]

        asyncio.run(check())

    @pytest.mark.parametrize("sizes", [(3,), LARGE], ids=["small", "large"])
    def test_an_upload_that_fails_leaves_the_object_before_it(
        self, store: StreamedStore, sizes: tuple[int, ...]
    ) -> None:
        async def check() -> None:
            for before in (None, b"before"):
                if before is not None:
                    store.replace("a/b", before)
                chunks = in_chunks(*sizes, end=ClientGone())
                with pytest.raises(ClientGone):
                    await store.upload("a/b", chunks, only_new=before is None)
                assert store.get("a/b") == before
                assert staged(store) == []
                assert list(store.list("")) == ([] if before is None else ["a/b"])

        asyncio.run(check())

    @pytest.mark.parametrize("sizes", [(3,), LARGE], ids=["small", "large"])
    def test_an_upload_replaces_an_object_unless_only_new_is_asked_for(
        self, store: StreamedStore, sizes: tuple[int, ...]
    ) -> None:
        async def check() -> None:
            assert await store.upload("a/b", in_chunks(*sizes), only_new=True) is not None
            assert await store.upload("a/b", in_chunks(*sizes, 1), only_new=True) is None
            assert store.get("a/b") == joined(*sizes)
            assert await store.upload("a/b", in_chunks(1)) is not None
            assert store.get("a/b") == b"a"

        asyncio.run(check())

    @pytest.mark.parametrize("size", [1, PART + 1], ids=["small", "large"])
    def test_of_eight_uploads_of_the_same_new_object_exactly_one_wins(self, store: StreamedStore, size: int) -> None:
        async def check() -> None:
            uploads = [store.upload("a/b", in_chunks(size + number), only_new=True) for number in range(8)]
            etags = await asyncio.gather(*uploads)
            (winner,) = [number for number, etag in enumerate(etags) if etag is not None]
            assert store.get("a/b") == b"a" * (size + winner)
            assert etags[winner] == (await seen(store, "a/b")).etag
            assert staged(store) == []

        asyncio.run(check())

    def test_a_large_upload_that_another_writer_overtook_returns_none(self, store: StreamedStore) -> None:
        async def overtaken() -> AsyncIterator[bytes]:
            yield bytes(PART + 1)
            yield bytes(PART)
            store.create("a/b", b"first")

        assert asyncio.run(store.upload("a/b", overtaken(), only_new=True)) is None
        assert store.get("a/b") == b"first"

    def test_an_object_replaced_or_deleted_since_the_look_is_not_read(self, store: StreamedStore) -> None:
        async def check() -> None:
            store.replace("a/b", b"one")
            stored = await seen(store, "a/b")
            store.replace("a/b", b"other")
            assert await read(store, stored, 0, 3) is None
            stored = await seen(store, "a/b")
            await store.delete("a/b")
            assert await read(store, stored, 0, 3) is None

        asyncio.run(check())

    def test_a_reader_whose_object_is_replaced_half_way_gets_an_error_and_no_mixture(
        self, store: StreamedStore
    ) -> None:
        async def check() -> None:
            await store.upload("a/b", in_chunks(*LARGE))
            chunks = await store.stream(await seen(store, "a/b"), 0, sum(LARGE))
            assert chunks is not None
            assert await anext(chunks) == joined(*LARGE)[:CHUNK]
            await store.upload("a/b", in_chunks(*reversed(LARGE)))
            assert b"".join([await anext(chunks) for _ in range(PART // CHUNK - 1)]) == joined(*LARGE)[CHUNK:PART]
            with raises(StageFailed, code="replaced-while-read", key="a/b"):
                await anext(chunks)

        asyncio.run(check())

    def test_an_etag_changes_when_the_bytes_do(self, store: StreamedStore) -> None:
        async def check() -> None:
            etags = [await store.upload("a/b", in_chunks(*sizes)) for sizes in ((1,), (1, 1), (2,), (0,))]
            assert len(set(etags)) == 4

        asyncio.run(check())

    def test_looking_at_an_absent_object_gives_none_and_deleting_it_does_nothing(self, store: StreamedStore) -> None:
        async def check() -> None:
            store.create("a/b", b"x")
            for key in ("a/c", "a", "c/d", "a/b/c"):
                assert await store.look(key) is None
                await store.delete(key)
            assert store.get("a/b") == b"x"
            await store.delete("a/b")
            assert await store.look("a/b") is None
            assert store.create("a/b", b"y")

        asyncio.run(check())

    def test_a_key_may_have_the_name_of_a_folder_that_became_empty(self, store: StreamedStore) -> None:
        if store.url.startswith("s3:"):
            pytest.skip("SeaweedFS keeps the folder for a while; no key of the pipeline is also a folder")

        async def check() -> None:
            store.create("a/b/c", b"x")
            await store.delete("a/b/c")
            assert store.create("a/b", b"y")
            assert store.get("a/b") == b"y"

        asyncio.run(check())

    def test_pages_hold_every_object_under_the_prefix_once_in_order(self, store: StreamedStore) -> None:
        keys = ["a/1", "b/deep/er", "b-c", "b/10", "b/2", "b/1", "bb/1", "b.c"]

        async def check() -> None:
            for number, key in enumerate(keys):
                store.create(key, bytes(number))
            for prefix in ("", "b", "b/", "b/1", "b-", "b.c", "c"):
                expected = [key for key in keys if key.startswith(prefix)]
                listed: list[Stored] = []
                while page := await store.page(prefix, listed[-1].key if listed else "", 2):
                    assert len(page) <= 2
                    listed.extend(page)
                found = [stored.key for stored in listed]
                assert found in (sorted(expected), sorted(expected, key=in_order)), prefix
                for stored in listed:
                    assert stored == await seen(store, stored.key)

        asyncio.run(check())

    def test_pages_hold_what_lies_in_the_folder_of_a_key(self, store: StreamedStore) -> None:
        if store.url.startswith("file:"):
            pytest.skip("a disk has no file that is a folder, too")
        keys = ["b/1/x", "b/1/y", "b/1", "b/1.x", "b/1-x", "b/10/x", "b/10", "b/1a"]

        async def check() -> None:
            for key in keys:
                store.create(key, b"x")
            there = store.list("b/")  # SeaweedFS does not always list an object that is a folder, too
            listed: list[str] = []
            while page := await store.page("b/", listed[-1] if listed else "", 1):
                listed += [stored.key for stored in page]
                assert len(listed) <= len(there), listed
            assert listed in (sorted(there), sorted(there, key=in_order))

        asyncio.run(check())

    def test_the_probe_of_a_working_store_succeeds_with_and_without_objects(self, store: StreamedStore) -> None:
        asyncio.run(store.probe())
        store.create("a/b", b"x")
        asyncio.run(store.probe())


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get("a/b"),
        lambda store: store.exists("a/b"),
        lambda store: store.list("a/"),
        lambda store: store.create("a/b", b"x"),
        lambda store: store.replace("a/b", b"x"),
        lambda store: store.erase("a/b"),
        lambda store: asyncio.run(store.look("a/b")),
        lambda store: asyncio.run(store.page("", "", 10)),
        lambda store: asyncio.run(store.upload("a/b", in_chunks(3))),
        lambda store: asyncio.run(store.probe()),
    ],
    ids=["get", "exists", "list", "create", "replace", "erase", "look", "page", "upload", "probe"],
)
def test_a_folder_that_is_gone_is_no_empty_store_and_is_not_made_again(
    tmp_path: Path, use: Callable[[StreamedStore], object]
) -> None:
    store = open_store((tmp_path / "objects").as_uri())
    (tmp_path / "objects").rmdir()
    with raises(MachineFailed, code="folder-gone", folder=str(tmp_path / "objects")):
        use(store)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_only_to_be_read_is_not_made(tmp_path: Path) -> None:
    with raises(UsageError, code="no-store", folder=str(tmp_path / "objects")):
        open_store((tmp_path / "objects").as_uri(), make=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_is_no_absent_object(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path.as_uri())
    store.create("a/b", b"x")

    def failing(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "lstat", failing)
    for use in (store.get, store.exists, lambda key: store.create(key, b"y")):
        with raises(MachineFailed, code="disk-failed", key="a/b"):
            use("a/b")


@pytest.mark.parametrize("key", ["a", "a/b/c", "a/b/c/d"])
@pytest.mark.parametrize("sizes", [(3,), LARGE], ids=["small", "large"])
def test_on_a_disk_an_upload_to_the_key_of_a_folder_or_below_an_object_is_refused_and_leaves_no_file(
    tmp_path: Path, key: str, sizes: tuple[int, ...]
) -> None:
    store = open_store(tmp_path.as_uri())
    store.create("a/b", b"x")
    with raises(NameTaken, code="name-taken", key=key):
        asyncio.run(store.upload(key, in_chunks(*sizes)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a/b"]


def test_on_a_disk_an_upload_that_was_cut_off_leaves_no_file(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    with pytest.raises(ClientGone):
        asyncio.run(store.upload("a/b", in_chunks(*LARGE, end=ClientGone())))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_store_in_memory_shares_nothing_with_another_one() -> None:
    first, second = open_store("memory:///"), memory_store()
    first.create("a", b"x")
    assert second.get("a") is None
    assert first.url == second.url == "memory:///"


def test_another_process_finds_a_local_store_by_its_url_and_both_see_what_the_other_wrote(tmp_path: Path) -> None:
    store = open_store((tmp_path / "objects ü #1").as_uri())
    store.create("from/parent", b"parent")
    program = (
        "import json, sys; from flts.backends.store import open_store; s = open_store(sys.argv[1]);"
        "print(json.dumps([s.get('from/parent').decode(), s.create('from/parent', b'no'),"
        " s.create('from/child', b'child'), list(s.list('from/')), s.url]))"
    )
    answer = subprocess.run([sys.executable, "-c", program, store.url], capture_output=True, check=True, text=True)
    assert json.loads(answer.stdout) == ["parent", False, True, ["from/child", "from/parent"], store.url]
    assert store.get("from/child") == b"child"
    assert (tmp_path / "objects ü #1" / "from" / "child").read_bytes() == b"child"


def test_a_file_that_a_killed_writer_left_half_written_is_not_an_object_and_blocks_no_key(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    store.create("a/b", b"x")
    (tmp_path / "a" / "c#1").write_bytes(b"hal")
    assert list(store.list("a/")) == ["a/b"]
    assert store.get("a/c") is None
    assert store.create("a/c", b"half and half")
    assert store.get("a/c") == b"half and half"


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("I am a file")
    with raises(StageFailed, code="folder-unwritable", folder=str(tmp_path / "objects")):
        open_store((tmp_path / "objects").as_uri())
    with raises(StageFailed, code="folder-unwritable", folder=str(tmp_path / "objects" / "below")):
        open_store((tmp_path / "objects" / "below").as_uri())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with raises(MachineFailed, code="no-rights", folder=str(tmp_path / "closed" / "objects")):
        open_store((tmp_path / "closed" / "objects").as_uri())
    with raises(MachineFailed, code="no-rights", key="a/b"):
        open_store((tmp_path / "closed").as_uri()).create("a/b", b"x")


def test_the_error_for_a_key_that_the_file_system_refuses_says_what_where_and_why(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    store.create("folder/file", b"x")
    with raises(StageFailed, code="store-failed") as caught:
        store.replace("folder", b"x")
    assert str(caught.value).startswith("cannot write folder in file://")
    assert "directory" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/x", "objects", "/folder/objects", ""])
def test_an_invalid_store_url_is_refused(url: str) -> None:
    with raises(UsageError, code="store-url-invalid", url=url):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file://host/objects", "host-in-file-url"),
        ("file:///objects?endpoint=x", "mark-in-file-url"),
        ("file:///objects#1", "mark-in-file-url"),
    ],
)
def test_a_file_url_that_names_more_than_a_folder_is_refused(url: str, code: str) -> None:
    with raises(UsageError, code=code, key="store"):
        open_store(url)


def test_every_object_is_listed_when_s3_needs_several_pages(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_prefix(s3_server, monkeypatch))
    keys = [f"many/{number:05}" for number in range(1100)]
    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(lambda key: store.create(key, b""), keys))
    assert list(store.list("many/")) == keys
    assert list(store.list("many/0109")) == [f"many/{number:05}" for number in range(1090, 1100)]


def test_objects_of_twenty_megabytes_are_created_replaced_and_read_in_s3(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_prefix(s3_server, monkeypatch))
    data = os.urandom(20 * 2**20)
    assert store.create("big/object", data)
    assert not store.create("big/object", b"other")
    assert read_checked(store, "big/object", sha256(data)) == data
    store.replace("big/object", data[::-1])
    with pytest.raises(DamagedObject):
        read_checked(store, "big/object", sha256(data))
    assert store.get("big/object") == data[::-1]


def test_in_a_url_without_a_bucket_the_first_part_of_a_key_names_it(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.credentials.items():
        monkeypatch.setenv(name, value)
    mark = uuid.uuid4().hex[:8]
    s3_server.make_buckets([f"{mark}-specs", f"{mark}-models"])
    store = open_store(f"s3:///{mark}-")
    assert store.create("specs/a.json", b"spec")
    assert not store.create("specs/a.json", b"other")
    store.replace("models/x/y.json", b"model")
    assert store.get("specs/a.json") == b"spec"
    assert store.get("models/x/z.json") is None
    assert store.exists("models/x/y.json")
    assert list(store.list("models/x")) == ["models/x/y.json"]
    assert list(store.dated("models/", "y.json")) == ["models/x/y.json"]
    assert list(store.first("models/", 2, "models/w")) == ["models/x/y.json"]
    assert list(store.folders("models/")) == ["models/x/"]
    assert open_store(f"s3://{mark}-models/x").get("y.json") == b"model"

    async def streamed() -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"abc"

        assert await store.upload("models/up", chunks(), only_new=True)
        stored = await seen(store, "models/up")
        assert (stored.key, stored.size) == ("models/up", 3)
        assert await read(store, stored, 0, 3) == [b"abc"]
        page = await store.page("models/", "models/up", 10)
        assert [stored.key for stored in page] == ["models/x/y.json"]
        await store.delete("models/up")
        assert await store.look("models/up") is None
        await store.probe()

    asyncio.run(streamed())
    for key in ("specs", "", "/x"):
        with raises(UsageError, code="no-bucket-in-key", key=key):
            store.get(key)


def test_in_a_folder_only_regular_files_in_its_own_folders_are_objects(tmp_path: Path) -> None:
    root, outside = tmp_path / "store", tmp_path / "outside"
    store = open_store(root.as_uri())
    store.create("dataset/a/object", b"bytes")
    assert store.get("dataset/a/object/below") is None
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    dataset = root / "dataset"
    os.mkfifo(dataset / "pipe")
    (dataset / "link").symlink_to(outside / "secret")
    (dataset / "folder").symlink_to(outside)
    (dataset / "itself").symlink_to(dataset / "itself")
    (dataset / "a" / "up").symlink_to(dataset)
    for key in ("dataset/pipe", "dataset/link", "dataset/folder/secret", "dataset/itself", "dataset/a/up/a/object"):
        assert store.get(key) is None, key
        assert not store.exists(key), key
        assert asyncio.run(store.look(key)) is None, key
        assert store.list(key) == [], key
    assert store.list("dataset/") == ["dataset/a/object"]
    assert [one.key for one in asyncio.run(store.page("dataset/", "", 10))] == ["dataset/a/object"]
    with raises(NameTaken, code="name-taken"):
        asyncio.run(store.upload("dataset/folder/new", one_chunk()))
    asyncio.run(store.delete("dataset/folder/secret"))
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize("name", [b"\x1b[31m.json", b"two\nlines", b"\xff.json", b"folder\x7f/object"])
def test_in_a_folder_a_file_whose_name_is_no_key_is_no_object(tmp_path: Path, name: bytes) -> None:
    root = tmp_path / "store"
    store = open_store(root.as_uri())
    store.create("runs/a", b"bytes")
    file = os.path.join(os.fsencode(root / "runs"), name)  # noqa: PTH118 - a Path holds no such bytes
    os.makedirs(os.path.dirname(file), exist_ok=True)  # noqa: PTH103, PTH120
    with open(file, "wb") as opened:  # noqa: PTH123
        opened.write(b"{}")
    assert store.list("runs/") == ["runs/a"]
    assert list(store.dated("runs/")) == list(store.first("runs/", 5)) == ["runs/a"]


async def one_chunk() -> AsyncIterator[bytes]:
    """The body of an upload."""
    yield b"x"


WRITES: list[Callable[[Store, str], object]] = [
    lambda store, key: store.create(key, b"x"),
    lambda store, key: store.replace(key, b"x"),
    lambda store, key: store.erase(key),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("at", ["models", "models/a"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "circle", "file"])
def test_in_a_folder_no_write_leaves_the_store_by_a_link_and_no_model_is_to_blame(
    kind: str, at: str, write: Callable[[Store, str], object], tmp_path: Path
) -> None:
    store, elsewhere = open_store((tmp_path / "store").as_uri()), tmp_path / "elsewhere"
    (elsewhere / "a").mkdir(parents=True)
    for kept in (elsewhere / "b.json", elsewhere / "a" / "b.json"):
        kept.write_bytes(b"kept")
    blocking = tmp_path / "store" / at
    blocking.parent.mkdir(exist_ok=True)
    if kind == "file":
        blocking.write_bytes(b"")
    else:
        blocking.symlink_to({"link": elsewhere, "dangling link": tmp_path / "gone", "circle": blocking}[kind])
    with raises(MachineFailed, code="not-a-folder", found=at):
        write(store, "models/a/b.json")
    assert {path.name: path.read_bytes() for path in elsewhere.rglob("*.json")} == {"b.json": b"kept"}
    assert (tmp_path / "gone").exists() is False


def test_a_store_may_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "large disk")
    store = open_store((tmp_path / "store").as_uri())
    assert store.create("models/a/b.json", b"x")
    assert store.get("models/a/b.json") == b"x"
