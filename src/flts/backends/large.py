"""Objects too large for one request: read in pieces; written to a staging key, then copied to their own key.

Not every client and not every S3 supports an upload in parts that refuses to replace an object. A copy within the
store can refuse it.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from flts.contracts.canonical import sha256
from flts.contracts.ports import PART

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

ONE_REQUEST = 64 * 2**20
"""Most bytes of one request; each request has its own time limit and retries."""
AT_ONCE = 2
"""Parts of one object that are sent at the same time."""
STAGING = ".staging/"
"""Where large objects are staged. Lists of a store leave it out."""


def read(store: ObjectStore, meta: ObjectMeta) -> bytes:
    """The object that `meta` describes. Raises what obstore raises; PreconditionError when it was replaced since."""
    import obstore

    def piece(start: int) -> memoryview:
        end = min(meta["size"], start + ONE_REQUEST)
        options: GetOptions = {"range": (start, end), "if_match": meta["e_tag"]}
        return memoryview(obstore.get(store, meta["path"], options=options).bytes())

    return b"".join(piece(start) for start in range(0, meta["size"], ONE_REQUEST))


def create(store: ObjectStore, key: str, data: bytes, *, exists: bool) -> bool:
    """Write an object that must not exist yet; False when it does. Raises what obstore raises.

    exists: whether the object was seen already; then nothing is sent.
    """
    import obstore

    # the same staging key at every attempt, so that the next attempt removes what a killed one left
    staged = f"{STAGING}{sha256(data)}-{sha256(key.encode())}"
    if exists:
        _drop(store, staged)
        return False
    obstore.put(store, staged, data, chunk_size=PART, max_concurrency=AT_ONCE)
    return _name(store, staged, key)


async def upload(store: ObjectStore, key: str, chunks: AsyncIterator[bytes]) -> bool:
    """`create` from a stream of chunks."""
    import obstore

    staged = f"{STAGING}{uuid.uuid4().hex}"
    await obstore.put_async(store, staged, chunks, chunk_size=PART, max_concurrency=AT_ONCE)
    return await asyncio.to_thread(_name, store, staged, key)


def _name(store: ObjectStore, staged: str, key: str) -> bool:
    """Move a staged object to its key; False when another writer was first."""
    import obstore

    try:
        obstore.copy(store, staged, key, overwrite=False)
    except (FileExistsError, obstore.exceptions.AlreadyExistsError):
        return False
    except (FileNotFoundError, obstore.exceptions.NotFoundError):
        return False  # another writer of the same bytes moved them
    finally:
        _drop(store, staged)
    return True


def _drop(store: ObjectStore, staged: str) -> None:
    import obstore

    with contextlib.suppress(FileNotFoundError, obstore.exceptions.BaseError):  # what is left over does no harm
        obstore.delete(store, staged)
