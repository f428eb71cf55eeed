"""Checks the object store: its buckets, the rights of this user, and whether create-only writes are enforced."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from flts.contracts import layout
from flts.contracts.errors import FltsError, Transient
from flts.contracts.ports import PART, Clock, StreamedStore
from flts.doctor.finding import Diagnosis, ok, refused, warning, wrong

ABOUT = "store"
CLOCK_SKEW = 30.0
"""Seconds by which two clocks may differ without a warning; S3 refuses requests from 15 minutes on."""
RIGHTS = "give the user of these credentials the right to list, read, write and delete objects"


def examine(store: StreamedStore, clock: Clock) -> Iterator[Diagnosis]:
    """List every bucket; then create, create again, read and delete an object of our own under dataset/."""
    refusals = []
    for bucket in layout.BUCKETS:
        try:
            store.list(f"{bucket}/flts-doctor/")
        except Transient as error:
            yield refused(ABOUT, error, f"start the server of {store.url}, or set store (FLTS_STORE) and s3_endpoint")
            return
        except FltsError as error:
            refusals.append(refused(ABOUT, error, f"create the bucket '{bucket}', and let this user list it"))
    if len(refusals) == len(layout.BUCKETS):
        yield refusals[0]  # the same reason for all
        return
    yield from refusals
    listed = len(layout.BUCKETS) - len(refusals)
    yield ok(ABOUT, f"{store.url} answers; {listed} of {len(layout.BUCKETS)} buckets can be listed")
    yield from _probe(store, clock)


def _probe(store: StreamedStore, clock: Clock) -> Iterator[Diagnosis]:
    """Check the rights with one object of our own, which is always deleted again."""
    key = f"{layout.BUCKETS[0]}/flts-doctor-{uuid.uuid4().hex}"
    try:
        created = store.create(key, b"flts doctor")
    except FltsError as error:
        yield refused(ABOUT, error, f"{RIGHTS} (the doctor tried to write an object under {layout.BUCKETS[0]}/)")
        return
    if not created:
        yield _ignores(store, "says that a new object exists already")
        return
    try:
        yield from _use(store, key, clock.now())
    finally:
        with contextlib.suppress(FltsError):  # _use has reported an object that cannot be deleted
            asyncio.run(store.delete(key))


def _use(store: StreamedStore, key: str, created_at: datetime) -> Iterator[Diagnosis]:
    doing = "write"
    try:
        if store.create(key, b"flts doctor again"):
            yield _ignores(store, "overwrote an existing object")
            return
        yield ok(ABOUT, "create-only is enforced: a second object of the same name was refused")
        doing = "read"
        head = asyncio.run(store.look(key))
        if head is None or store.get(key) is None:
            yield wrong(
                ABOUT,
                f"{store.url} does not return an object that it has just stored",
                "use a store that reads its own writes",
            )
            return
        apart = (head.modified - created_at).total_seconds()
        if abs(apart) > CLOCK_SKEW:
            skew = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'}"
            yield warning(ABOUT, f"the clock of the store is {skew} that of this machine", "synchronize both with NTP")
        doing = "delete"
        asyncio.run(store.delete(key))
        if store.exists(key):
            yield wrong(ABOUT, f"{key} is still there after it was deleted", RIGHTS)
            return
        yield ok(ABOUT, f"an object under {layout.BUCKETS[0]}/ can be written, read and deleted")
    except FltsError as error:
        yield refused(ABOUT, error, f"{RIGHTS} (the doctor tried to {doing} an object under {layout.BUCKETS[0]}/)")
        return
    yield _large(store, key)


def _large(store: StreamedStore, key: str) -> Diagnosis:
    """Check create-only for a multipart upload: a second upload overtakes it after it has found no object."""

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(PART + 1)

    async def both() -> int:
        etags = []

        async def overtaken() -> AsyncIterator[bytes]:
            yield bytes(PART + 1)
            etags.append(await store.upload(key, chunks(), only_new=True))

        etags.append(await store.upload(key, overtaken(), only_new=True))
        return sum(etag is not None for etag in etags)

    try:
        won = asyncio.run(both())
    except FltsError as error:
        return refused(ABOUT, error, "let this user copy objects too; AWS_COPY_IF_NOT_EXISTS says how this S3 copies")
    if won != 1:
        found = f"{won} of 2 multipart uploads of one new object succeeded: If-None-Match is not enforced for copies"
        return wrong(ABOUT, found, "set AWS_COPY_IF_NOT_EXISTS to what this S3 supports, for instance to 'multipart'")
    return ok(ABOUT, "create-only is enforced for multipart uploads, too")


def _ignores(store: StreamedStore, what: str) -> Diagnosis:
    found = f"{store.url} {what}: it does not enforce If-None-Match, so two writers would overwrite each other"
    return wrong(ABOUT, found, "this endpoint cannot be used; use an S3 with conditional writes, or a folder")
