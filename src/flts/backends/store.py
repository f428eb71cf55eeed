"""Objects behind one URL through obstore: memory:///, file:///folder, s3://bucket/prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flts.errors import BackendUnavailable, StageFailed, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class ObjectStoreAdapter:
    """A Store on any obstore backend; an object appears whole or not at all on each of them."""

    def __init__(self, url: str, store: ObjectStore) -> None:
        self.url, self._store = url, store

    def get(self, key: str) -> bytes | None:
        import obstore

        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return None
        except obstore.exceptions.BaseError as error:
            raise self._failed("read", key, error) from None

    def create(self, key: str, data: bytes) -> bool:
        import obstore

        try:
            obstore.put(self._store, key, data, mode="create")
        except (FileExistsError, obstore.exceptions.AlreadyExistsError):
            return False
        except obstore.exceptions.BaseError as error:
            raise self._failed("write", key, error) from None
        return True

    def replace(self, key: str, data: bytes) -> None:
        import obstore

        try:
            obstore.put(self._store, key, data, mode="overwrite")
        except obstore.exceptions.BaseError as error:
            raise self._failed("write", key, error) from None

    def exists(self, key: str) -> bool:
        import obstore

        try:
            obstore.head(self._store, key)
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return False
        except obstore.exceptions.BaseError as error:
            raise self._failed("look for", key, error) from None
        return True

    def list(self, prefix: str) -> Sequence[str]:
        import obstore

        folder, _, _ = prefix.rpartition("/")
        try:
            pages = obstore.list(self._store, prefix=f"{folder}/" if folder else None).collect()
        except obstore.exceptions.BaseError as error:
            raise self._failed("list", prefix, error) from None
        return sorted(str(item["path"]) for item in pages if str(item["path"]).startswith(prefix))

    def _failed(self, verb: str, key: str, error: Exception) -> Exception:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if self.url.startswith("s3://"):
            return BackendUnavailable(f"cannot {verb} {key} in {self.url}: {reason}")
        return StageFailed(f"cannot {verb} {key} in {self.url}: {reason}")


def memory_store() -> ObjectStoreAdapter:
    """A store that lives as long as the process: for tests and notebooks."""
    from obstore.store import MemoryStore

    return ObjectStoreAdapter("memory:///", MemoryStore())


def open_store(url: str) -> ObjectStoreAdapter:
    """The store behind a URL. Raises UsageError for another scheme, StageFailed for a folder without rights."""
    from obstore.store import LocalStore, S3Store

    parts = urlsplit(url)
    match parts.scheme:
        case "memory":
            return memory_store()
        case "file" if parts.netloc in {"", "localhost"}:  # file://folder/x would name a host and lose its first part
            folder = Path(unquote(parts.path))
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StageFailed(f"cannot make the folder {folder}: {error.strerror}") from None
            return ObjectStoreAdapter(url, LocalStore(folder))
        case "s3":
            return ObjectStoreAdapter(url, S3Store.from_url(url))
        case _:
            raise UsageError(f"'{url}' is no store; write file:///folder, s3://bucket/prefix or memory:///")
