"""A Store through obstore, by URL: memory:///, file:///folder, s3://bucket/prefix, or s3:/// with many buckets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flts.backends import folder as disk
from flts.backends import large, listed, s3
from flts.backends.buckets import Buckets
from flts.backends.large import AT_ONCE, STAGING
from flts.contracts.errors import MachineFailed, NameTaken, StageFailed, UsageError
from flts.contracts.listing import start_of
from flts.contracts.machine import lacking, lacking_in
from flts.contracts.ports import PART, Stored, StreamedStore

if TYPE_CHECKING:
    from obstore import GetOptions, PutMode
    from obstore.store import ObjectStore

CHUNK = 2**18
"""Most bytes that a reader gets at once, so that a slow one does not keep a whole part waiting."""
LOCAL = "Generic LocalFileSystem error: "
"""The prefix of obstore's messages about a disk."""


class ObjectStoreAdapter:
    """A Store on any obstore backend; an object appears whole or not at all on each of them."""

    def __init__(self, url: str, store: ObjectStore) -> None:
        self.url, self._store = url, store

    def get(self, key: str) -> bytes | None:
        import obstore

        if self._hides(key):
            return None
        try:
            result = obstore.get(self._store, key)
            if self._of_s3 and result.meta["size"] > large.ONE_REQUEST:
                return large.read(self._store, result.meta)
            return bytes(result.bytes())
        except (FileNotFoundError, obstore.exceptions.NotFoundError) as error:
            if s3.NO_BUCKET in str(error):
                raise self._failed("read", key, error) from None
            return None
        except obstore.exceptions.BaseError as error:
            raise self._failed("read", key, error) from None

    def create(self, key: str, data: bytes) -> bool:
        import obstore

        self._check_place(key)
        try:
            if self._of_s3 and len(data) > large.ONE_REQUEST:
                return large.create(self._store, key, data, exists=self.exists(key))
            obstore.put(self._store, key, data, mode="create")
        except (FileExistsError, obstore.exceptions.AlreadyExistsError):
            return False
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:  # a bucket that is not there, too
            raise self._failed("write", key, error) from None
        return True

    def replace(self, key: str, data: bytes) -> None:
        import obstore

        self._check_place(key)
        try:
            obstore.put(self._store, key, data, mode="overwrite")
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:  # a bucket that is not there, too
            raise self._failed("write", key, error) from None

    def erase(self, key: str) -> None:
        import obstore

        self._check_place(key)
        try:
            obstore.delete(self._store, key)
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return
        except obstore.exceptions.BaseError as error:
            raise self._failed("delete", key, error) from None

    def exists(self, key: str) -> bool:
        import obstore

        if self._hides(key):
            return False
        try:
            obstore.head(self._store, key)
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return False
        except obstore.exceptions.BaseError as error:
            raise self._failed("look for", key, error) from None
        return True

    def list(self, prefix: str) -> Sequence[str]:
        with self._listing(prefix) as below:
            if self._folder is not None:
                return sorted(key for key in disk.keys(self._folder, below) if _under(prefix, key))
            return sorted(key for item in listed.every(self._store, below) if _under(prefix, key := str(item["path"])))

    def dated(self, prefix: str, ending: str = "") -> Mapping[str, datetime]:
        with self._listing(prefix) as below:
            found = disk.dated(self._folder, below, ending) if self._folder else listed.dated(self._store, below)
            return {key: at for key, at in found if _under(prefix, key) and key.endswith(ending)}

    def first(self, folder: str, most: int, after: str = "") -> Sequence[str]:
        with self._listing(folder) as below:
            if self._folder is not None:
                return list(islice(disk.ordered(self._folder, below, after), most))
            return [str(item["path"]) for item in listed.page(self._store, folder, most, after)]

    def folders(self, folder: str) -> Sequence[str]:
        with self._listing(folder) as below:
            if self._folder is not None:
                return [f"{key}/" for key in disk.folders(self._folder, below)]
            return listed.folders(self._store, folder)

    @contextmanager
    def _listing(self, prefix: str) -> Iterator[str]:
        """The folder that a prefix lies in; what goes wrong while it is listed is raised as an error about it."""
        import obstore

        try:
            if self._folder is not None:
                disk.require(self._folder)
            yield prefix.rpartition("/")[0]
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._failed("list", prefix, error) from None

    async def look(self, key: str) -> Stored | None:
        import obstore

        if self._hides(key):
            return None
        try:
            return _stored(await obstore.head_async(self._store, key))
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return None
        except obstore.exceptions.BaseError as error:
            if self._taken(key):
                return None
            raise self._failed("look for", key, error) from None

    async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes] | None:
        # part by part, so that a slow reader keeps no connection to the store open
        part = await self._part(stored, start, end)
        if part is None:
            return None

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal part
            done = start
            while part:
                for offset in range(0, len(part), CHUNK):
                    yield bytes(part[offset : offset + CHUNK])
                done += len(part)
                part = None  # so that a reader never holds two
                part = await self._part(stored, done, end)
                if part is None:
                    raise StageFailed(
                        f"{stored.key} in {self.url} was replaced while it was read",
                        code="replaced-while-read",
                        key=stored.key,
                    )

        return chunks()

    async def _part(self, stored: Stored, start: int, end: int) -> memoryview | None:
        import obstore

        if start == end:
            return memoryview(b"")
        if self._hides(stored.key):
            return None
        options: GetOptions = {"range": (start, min(end, start + PART)), "if_match": stored.etag or None}
        try:
            result = await obstore.get_async(self._store, stored.key, options=options)
            return memoryview(await result.bytes_async())
        except (FileNotFoundError, obstore.exceptions.NotFoundError, obstore.exceptions.PreconditionError):
            return None
        except obstore.exceptions.BaseError as error:
            raise self._failed("read", stored.key, error) from None

    async def upload(self, key: str, chunks: AsyncIterable[bytes], *, only_new: bool = False) -> str | None:
        import obstore

        if self._folder is not None:
            disk.require(self._folder)
        if self._taken(key):
            raise NameTaken(
                f"{key} is a folder in {self.url}, or lies below an object; choose another key", key=key, url=self.url
            )
        beginning, rest = bytearray(), aiter(chunks)
        async for chunk in rest:
            beginning += chunk
            if len(beginning) > PART:
                break

        async def whole() -> AsyncIterator[bytes]:
            yield bytes(beginning)
            beginning.clear()
            async for chunk in rest:
                yield chunk

        try:
            if len(beginning) <= PART:
                mode: PutMode = "create" if only_new else "overwrite"
                written = await obstore.put_async(self._store, key, bytes(beginning), mode=mode, use_multipart=False)
            elif only_new:
                new = await self.look(key) is None and await large.upload(self._store, key, whole())
                stored = await self.look(key) if new else None
                return stored.etag if stored else None
            else:
                written = await obstore.put_async(self._store, key, whole(), chunk_size=PART, max_concurrency=AT_ONCE)
        except (FileExistsError, obstore.exceptions.AlreadyExistsError):
            return None
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise self._failed("write", key, error) from None
        return str(written["e_tag"] or "")

    async def delete(self, key: str) -> None:
        import obstore

        if self._taken(key):
            return
        try:
            await obstore.delete_async(self._store, key)
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return
        except obstore.exceptions.BaseError as error:
            raise self._failed("delete", key, error) from None

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Stored]:
        return await asyncio.to_thread(self._page, prefix, after, limit)

    def _page(self, prefix: str, after: str, limit: int) -> Sequence[Stored]:
        if not after.startswith(prefix):
            if after > prefix:
                return []
            after = ""  # every key that starts so comes after it
        with self._listing(prefix) as below:
            if self._folder is None:
                return [
                    _stored(item)
                    for item in listed.page(self._store, prefix, limit, start_of(after.rstrip("/") or prefix), after)
                ]
            keys = disk.ordered(self._folder, below, after or start_of(prefix))
            there = takewhile(partial(_under, prefix), dropwhile(lambda key: not _under(prefix, key), keys))
            return list(islice(filter(None, map(self._look_now, there)), limit))

    def _look_now(self, key: str) -> Stored | None:
        import obstore

        try:
            return _stored(obstore.head(self._store, key))
        except FileNotFoundError:  # removed meanwhile
            return None

    async def probe(self) -> None:
        import obstore

        if self._folder is not None:
            disk.require(self._folder)
        try:
            async for _ in obstore.list(self._store, chunk_size=1):
                return
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise self._failed("list", "", error) from None

    @property
    def _of_s3(self) -> bool:
        return self.url.startswith("s3://")

    @property
    def _folder(self) -> Path | None:
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def _hides(self, key: str) -> bool:
        """Whether a local store has no object of this key. Raises MachineFailed where its folder is gone."""
        if self._folder is None:
            return False
        with self._on_disk("look for", key):
            if disk.holds(self._folder, key):
                return False
            disk.require(self._folder)
        return True

    def _check_place(self, key: str) -> None:
        """Raise MachineFailed where a link would lead a write out of a local store, or a file is where a folder goes.

        What it hides may be all results of all models, so no model is to blame. A folder that is gone is not made
        again: what was stored is elsewhere, and would be hidden by it.
        """
        if self._folder is None:
            return
        with self._on_disk("write", key):
            disk.require(self._folder)
            blocking = disk.in_the_way(self._folder, key)
        if blocking:
            raise MachineFailed(
                f"cannot write {key} in {self.url}: {blocking} is a link or a file, and a store needs a folder of its"
                " own there; put the folder itself in its place, or mount it there",
                code="not-a-folder",
                key=key,
                found=blocking,
            )

    def _taken(self, key: str) -> bool:
        """Whether the folder of a local store cannot hold this key: it names a folder, or lies below an object."""
        if self._folder is None:
            return False
        with self._on_disk("look for", key):
            return disk.taken(self._folder, key)

    @contextmanager
    def _on_disk(self, verb: str, key: str) -> Iterator[None]:
        """Raise what the disk says, such as that it failed, as an error about this object."""
        try:
            yield
        except OSError as error:
            raise self._failed(verb, key, error) from None

    def _failed(self, verb: str, key: str, error: Exception) -> Exception:
        what = f"cannot {verb} {key} in {self.url}"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fault = lacking(lacking_in(reason), what, key=key, url=self.url)
        if fault is not None:
            return fault
        if self._of_s3:
            return s3.failed(what, error)
        return StageFailed(
            f"{what}: {reason.removeprefix(LOCAL)}",
            code="store-failed",
            key=key,
            url=self.url,
        )


def _under(prefix: str, key: str) -> bool:
    return key.startswith(prefix) and not key.startswith(STAGING)


def _stored(meta: Any) -> Stored:
    return Stored(str(meta["path"]), int(meta["size"]), str(meta["e_tag"] or ""), meta["last_modified"])


def memory_store() -> ObjectStoreAdapter:
    """A store that lives as long as the process: for tests and notebooks."""
    from obstore.store import MemoryStore

    return ObjectStoreAdapter("memory:///", MemoryStore())


def open_store(url: str, *, make: bool = True) -> StreamedStore:
    """The store behind a URL. make: its folder where there is none.

    Raises UsageError for another scheme and for an absent folder that is not to be made, StageFailed for one that
    cannot be.
    """
    from obstore.store import LocalStore

    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            return memory_store()
        case "file":
            place = disk.named_by(url, "store")
            if not make and not place.is_dir():
                raise UsageError(
                    f"folder not found: {place}, where store = {url} points; the first run there makes it",
                    code="no-store",
                    folder=str(place),
                )
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                what = f"cannot create the folder {place}"
                raise lacking(error.errno, what, folder=str(place)) or StageFailed(
                    f"{what}: {error.strerror}", code="folder-unwritable", folder=str(place)
                ) from None
            return ObjectStoreAdapter(url, LocalStore(place, automatic_cleanup=True))
        case "s3":
            location = s3.parse(url)
            if location.bucket:
                return ObjectStoreAdapter(url, s3.connect(location, location.bucket, location.prefix))
            return Buckets(url, lambda name: ObjectStoreAdapter(url, s3.connect(location, f"{location.prefix}{name}")))
        case _:
            raise UsageError(
                f"invalid store URL '{url}'; write file:///folder, s3://bucket/prefix or memory:///",
                code="store-url-invalid",
                url=url,
            )
