"""The object store: whether every bucket is there, what this user may do in it, and whether create-only is kept."""

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
APART = 30.0
"""Seconds by which the clocks of two machines may differ unnoticed; an S3 refuses requests from 15 minutes on."""
RIGHTS = "give the owner of these credentials the right to list, read, write and delete objects"


def examine(store: StreamedStore, clock: Clock) -> Iterator[Diagnosis]:
    """List every bucket; make, make again, read and delete an object of our own under dataset/."""
    refusals = []
    for bucket in layout.BUCKETS:
        try:
            store.list(f"{bucket}/flts-doctor/")
        except Transient as error:
            yield refused(ABOUT, error, f"start what serves {store.url}, or set store (FLTS_STORE) and s3_endpoint")
            return
        except FltsError as error:
            refusals.append(refused(ABOUT, error, f"let '{bucket}' be there, and let this user list it"))
    if len(refusals) == len(layout.BUCKETS):
        yield refusals[0]  # all for one reason
        return
    yield from refusals
    listed = len(layout.BUCKETS) - len(refusals)
    yield ok(ABOUT, f"{store.url} answers; {listed} of {len(layout.BUCKETS)} buckets can be listed")
    yield from _probe(store, clock)


def _probe(store: StreamedStore, clock: Clock) -> Iterator[Diagnosis]:
    """One object of our own; nothing of it stays, whatever is found."""
    key = f"{layout.BUCKETS[0]}/flts-doctor-{uuid.uuid4().hex}"
    try:
        made = store.create(key, b"flts doctor")
    except FltsError as error:
        yield refused(ABOUT, error, f"{RIGHTS} (this was to write an object under {layout.BUCKETS[0]}/)")
        return
    if not made:
        yield _ignores(store, "says that a new object is there already")
        return
    try:
        yield from _use(store, key, clock.now())
    finally:
        with contextlib.suppress(FltsError):  # what cannot be deleted was said
            asyncio.run(store.delete(key))


def _use(store: StreamedStore, key: str, made: datetime) -> Iterator[Diagnosis]:
    doing = "write"
    try:
        if store.create(key, b"flts doctor again"):
            yield _ignores(store, "wrote an object over one that was there")
            return
        yield ok(ABOUT, "create-only is kept: a second object of the same name was refused")
        doing = "read"
        found = asyncio.run(store.look(key))
        if found is None or store.get(key) is None:
            yield wrong(ABOUT, f"{store.url} does not show an object that it took", "use a store that reads its writes")
            return
        apart = (found.modified - made).total_seconds()
        if abs(apart) > APART:
            way = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'}"
            yield warning(ABOUT, f"the clock of the store is {way} that of this machine", "set both by NTP")
        doing = "delete"
        asyncio.run(store.delete(key))
        if store.exists(key):
            yield wrong(ABOUT, f"{key} is still there after it was deleted", RIGHTS)
            return
        yield ok(ABOUT, f"an object under {layout.BUCKETS[0]}/ can be written, read and deleted")
    except FltsError as error:
        yield refused(ABOUT, error, f"{RIGHTS} (this was to {doing} an object under {layout.BUCKETS[0]}/)")
        return
    yield _large(store, key)


def _large(store: StreamedStore, key: str) -> Diagnosis:
    """Whether create-only is kept for an object in parts too: an upload is overtaken after it found the place empty."""

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
        found = f"{won} of 2 uploads of one new object in parts succeeded: If-None-Match is not kept for copies"
        return wrong(ABOUT, found, "set AWS_COPY_IF_NOT_EXISTS to what this S3 keeps, for instance to 'multipart'")
    return ok(ABOUT, "create-only is kept for large objects too, which go up in parts")


def _ignores(store: StreamedStore, what: str) -> Diagnosis:
    found = f"{store.url} {what}: it does not keep If-None-Match, so two writers would overwrite each other"
    return wrong(ABOUT, found, "this endpoint cannot be used; take an S3 with conditional writes, or a folder")
