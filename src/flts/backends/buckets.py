"""A store that maps the first part of each key to a bucket of its own, so that access can be granted per bucket."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from flts.contracts.errors import UsageError
from flts.contracts.layout import BUCKETS
from flts.contracts.ports import Stored, StreamedStore


class Buckets:
    """A StreamedStore over one store per bucket; each is opened on first use."""

    def __init__(self, url: str, open_bucket: Callable[[str], StreamedStore]) -> None:
        self.url, self._open_bucket = url, open_bucket
        self._opened: dict[str, StreamedStore] = {}

    def get(self, key: str) -> bytes | None:
        bucket, rest = self._at(key)
        return bucket.get(rest)

    def create(self, key: str, data: bytes) -> bool:
        bucket, rest = self._at(key)
        return bucket.create(rest, data)

    def replace(self, key: str, data: bytes) -> None:
        bucket, rest = self._at(key)
        bucket.replace(rest, data)

    def erase(self, key: str) -> None:
        bucket, rest = self._at(key)
        bucket.erase(rest)

    def exists(self, key: str) -> bool:
        bucket, rest = self._at(key)
        return bucket.exists(rest)

    def list(self, prefix: str) -> Sequence[str]:
        name = prefix.partition("/")[0]
        bucket, rest = self._at(prefix)
        return [f"{name}/{key}" for key in bucket.list(rest)]

    def first(self, folder: str, most: int, after: str = "") -> Sequence[str]:
        name = folder.partition("/")[0]
        bucket, rest = self._at(folder)
        return [f"{name}/{key}" for key in bucket.first(rest, most, after.removeprefix(f"{name}/"))]

    def folders(self, folder: str) -> Sequence[str]:
        name = folder.partition("/")[0]
        bucket, rest = self._at(folder)
        return [f"{name}/{key}" for key in bucket.folders(rest)]

    def dated(self, prefix: str, ending: str = "") -> Mapping[str, datetime]:
        name = prefix.partition("/")[0]
        bucket, rest = self._at(prefix)
        return {f"{name}/{key}": at for key, at in bucket.dated(rest, ending).items()}

    async def look(self, key: str) -> Stored | None:
        bucket, rest = self._at(key)
        stored = await bucket.look(rest)
        return None if stored is None else replace(stored, key=key)

    async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes] | None:
        bucket, rest = self._at(stored.key)
        return await bucket.stream(replace(stored, key=rest), start, end)

    async def upload(self, key: str, chunks: AsyncIterable[bytes], *, only_new: bool = False) -> str | None:
        bucket, rest = self._at(key)
        return await bucket.upload(rest, chunks, only_new=only_new)

    async def delete(self, key: str) -> None:
        bucket, rest = self._at(key)
        await bucket.delete(rest)

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Stored]:
        name = prefix.partition("/")[0]
        bucket, rest = self._at(prefix)
        stored = await bucket.page(rest, after.removeprefix(f"{name}/"), limit)
        return [replace(one, key=f"{name}/{one.key}") for one in stored]

    async def probe(self) -> None:
        for bucket in list(self._opened.values()) or [self._at(f"{BUCKETS[0]}/")[0]]:
            await bucket.probe()

    def _at(self, key: str) -> tuple[StreamedStore, str]:
        """The store of a key's bucket, and the rest of the key. Raises UsageError for one without both."""
        name, slash, rest = key.partition("/")
        if not (name and slash):
            raise UsageError(
                f"invalid key '{key}' for {self.url}; write bucket/object",
                code="no-bucket-in-key",
                key=key,
                url=self.url,
            )
        if name not in self._opened:
            self._opened[name] = self._open_bucket(name)
        return self._opened[name], rest
