"""Objects of more than one request: read piece by piece, put together aside and named in one step that replaces none.

Not every client and not every S3 can complete an upload in parts only where there is no object yet; a copy within the
store can be asked for that.
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
"""Most bytes that travel in one request where each has its own time and attempts."""
AT_ONCE = 2
"""Parts of one object that are on their way to a store at the same time."""
STAGING = ".staging/"
"""Where parts are put together. No list of a store shows it."""


def read(store: ObjectStore, found: ObjectMeta) -> bytes:
    """An object as it was found. Raises what obstore raises, PreconditionError when it was replaced since."""
    import obstore

    def piece(start: int) -> memoryview:
        end = min(found["size"], start + ONE_REQUEST)
        options: GetOptions = {"range": (start, end), "if_match": found["e_tag"]}
        return memoryview(obstore.get(store, found["path"], options=options).bytes())

    return b"".join(piece(start) for start in range(0, found["size"], ONE_REQUEST))


def create(store: ObjectStore, key: str, data: bytes, *, there: bool) -> bool:
    """Write an object that must not exist yet; False when it does. Raises what obstore raises.

    there: it was seen, so there is nothing to send.
    """
    import obstore

    # the same name at every attempt, so that the next one takes away what a killed one left
    staged = f"{STAGING}{sha256(data)}-{sha256(key.encode())}"
    if there:
        _drop(store, staged)
        return False
    obstore.put(store, staged, data, chunk_size=PART, max_concurrency=AT_ONCE)
    return _name(store, staged, key)


async def upload(store: ObjectStore, key: str, chunks: AsyncIterator[bytes]) -> bool:
    """`create` of bytes that are still on their way."""
    import obstore

    staged = f"{STAGING}{uuid.uuid4().hex}"
    await obstore.put_async(store, staged, chunks, chunk_size=PART, max_concurrency=AT_ONCE)
    return await asyncio.to_thread(_name, store, staged, key)


def _name(store: ObjectStore, staged: str, key: str) -> bool:
    """Move staged bytes to their key; False when it has others by now."""
    import obstore

    try:
        obstore.copy(store, staged, key, overwrite=False)
    except (FileExistsError, obstore.exceptions.AlreadyExistsError):
        return False
    except (FileNotFoundError, obstore.exceptions.NotFoundError):
        return False  # a writer of the same bytes moved them
    finally:
        _drop(store, staged)
    return True


def _drop(store: ObjectStore, staged: str) -> None:
    import obstore

    with contextlib.suppress(FileNotFoundError, obstore.exceptions.BaseError):  # what counts is the object
        obstore.delete(store, staged)
