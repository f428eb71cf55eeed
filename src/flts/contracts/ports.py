"""What the stages need from the outside world, as Protocols; `backends/` holds the adapters.

Beside them the three ways a stage touches a store, so that every write has a name a crash test can stop at and every
read of an immutable object checks its digest.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.failpoints import failpoint
from flts.contracts.layout import mend, restore

PART = 5 * 2**20
"""Bytes of a part of a large upload: the smallest that S3 takes."""


class Store(Protocol):
    """Objects by key. Keys are `bucket/path`; an object is whole or absent, never half written."""

    url: str

    def get(self, key: str) -> bytes | None:
        """The object, or None when it is absent. Raises BackendUnavailable."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object that must not exist yet; False when it does (it is left as it is)."""

    def replace(self, key: str, data: bytes) -> None:
        """Write an object that may exist: only pointers move."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def list(self, prefix: str) -> Sequence[str]:
        """All keys that start with the prefix, sorted."""


@dataclass(frozen=True)
class Stored:
    """What a store knows of an object without reading it."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Another one whenever the bytes are others; quoted as in HTTP."""
    modified: datetime


class StreamedStore(Store, Protocol):
    """A Store whose objects may be larger than memory: what a gateway needs beside what the stages need."""

    async def look(self, key: str) -> Stored | None:
        """What is known of an object, or None when it is absent. Raises BackendUnavailable."""

    async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes] | None:
        """Bytes `start` to `end` (exclusive) of an object as `look` found it, or None when it is not that any more.

        Raises StageFailed when the object is replaced after the first bytes were read.
        """

    async def upload(self, key: str, chunks: AsyncIterable[bytes], *, only_new: bool = False) -> str | None:
        """Write an object when the chunks end, nothing when they raise; returns its etag.

        only_new: None when there is one already; of several writers at once one wins, as with `create`.
        Raises NameTaken, BackendUnavailable.
        """

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is absent."""

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Stored]:
        """The first `limit` objects under the prefix whose keys come after `after`, sorted by key."""

    async def probe(self) -> None:
        """Return when the store answers. Raises BackendUnavailable, or StageFailed for a folder that is gone."""


@dataclass(frozen=True)
class Record:
    """One message as it lies in a topic. Bytes of a key or header that are no UTF-8 survive as surrogates."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    timestamp_ms: int
    """When it was sent, in milliseconds since 1970, UTC."""


@dataclass(frozen=True)
class BusState:
    """What a bus says of itself, for a person who looks for what is wrong."""

    brokers: Sequence[str]
    topics: Mapping[str, int]
    """Partitions by topic."""
    members: Mapping[str, Sequence[str]]
    """Names of the live members by group; empty for a group nobody is in."""


class Subscription(Protocol):
    """A member of a group, for one thread. Each partition of a topic belongs to one member at a time.

    A record that is not committed comes again: after `close`, death, or when its partition went to another member.
    Handlers must be idempotent.

    A bus that is away does not end it: after BackendUnavailable it goes on by itself when the bus is back.
    """

    def poll(self, timeout: float) -> Record | None:
        """The next record, or None when none came in `timeout` seconds. Raises BackendUnavailable."""

    def stay(self, record: Record, timeout: float) -> bool:
        """Remain in the group for `timeout` seconds without taking more, while the work of a record goes on.

        False when its partition went to another member, which will get the record too.
        """

    def commit(self, record: Record) -> None:
        """The effect of this record and of all before it in its partition is stored; they need not come again.

        Nothing happens when the partition went to another member. Raises BackendUnavailable.
        """

    def close(self) -> None:
        """Leave the group; what is uncommitted goes to the next member."""


class Bus(Protocol):
    """Topics with at-least-once delivery, in order within a key. Any thread may use it."""

    url: str

    def ensure(self, topics: Sequence[str]) -> None:
        """Make the topics that are not there; nothing relies on a broker that makes them by itself."""

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Return when the message is acknowledged. Raises BackendUnavailable when it is not known to be."""

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        """Join a group; a new group starts at the oldest message."""

    def records(self, topic: str) -> Sequence[Record]:
        """Everything that lies in a topic now, partition by partition, without being a member of anything."""

    def lag(self, topic: str, group: str) -> int:
        """How many records of a topic the group has not committed."""

    def describe(self, groups: Sequence[str] = ()) -> BusState:
        """What there is, asked of the brokers at this moment. Raises BackendUnavailable."""

    def close(self) -> None:
        """Give back what talks to the brokers."""


@dataclass(frozen=True)
class TrackedRun:
    """One candidate of one configuration as an experiment tracker shows it.

    artifacts: bytes by path; bundle: the files of a servable model, None for a candidate without one.
    """

    scope: str
    model_type: str
    status: Literal["FINISHED", "FAILED", "KILLED"]
    tags: Mapping[str, str]
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    curve: Sequence[Sequence[float]]
    """[train loss, validation loss] per epoch."""
    dataset: Mapping[str, str]
    """name, digest and source of the rows."""
    bundle: Mapping[str, bytes] | None
    extra: str | None
    """The extra that a place needs to load the bundle."""
    columns: Sequence[str]
    """Columns of a history."""
    artifacts: Mapping[str, bytes]
    started_ms: int
    ended_ms: int
    packages: Sequence[str] = ()
    """Further requirements of a place that is to load the bundle, as pip takes them."""


class Tracker(Protocol):
    """Where people look at runs; nothing is ever decided by what it holds."""

    uri: str

    def prepare(self, scope: str) -> None:
        """Get ready to log; returns at once."""

    def log(self, run: TrackedRun) -> str:
        """Write one ended run; returns its id, that of the first where the same was logged and nobody was told."""

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        """Id of the oldest finished run with these tags, in whatever scope; None when there is none here.

        other_than: tags that it has with another value.
        """

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Add what only the judge knows."""

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str) -> None:
        """Register the promoted model as a version and move the alias `champion` to it."""

    def check(self) -> None:
        """Raises BackendUnavailable when it does not answer."""

    def close(self) -> None:
        """Nothing more will be logged."""


class Clock(Protocol):
    """Wall time, for records that say when; no result depends on it."""

    def now(self) -> datetime:
        """Aware UTC time."""


class Progress(Protocol):
    """How far a fit is."""

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        """One pass over the training windows is done."""

    def phase(self, name: str) -> None:
        """What is being done now: fit, validate, refit, save, forecast."""


class Silent:
    """A Progress that says nothing."""

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        """Say nothing of an epoch."""

    def phase(self, name: str) -> None:
        """Say nothing of a phase."""


def write_once(store: Store, key: str, data: bytes, *, at: str) -> bytes:
    """Create an object and return the bytes that stand: these, or those of whoever was first."""
    failpoint(f"{at}.before")
    created = store.create(key, data)
    failpoint(f"{at}.after")
    if created:
        return data
    first = store.get(key)
    if first is None:
        raise DamagedObject(f"{key} was refused as existing, and is absent")
    return first


def point_at(store: Store, key: str, data: bytes, *, at: str) -> None:
    """Move a pointer."""
    failpoint(f"{at}.before")
    store.replace(key, data)
    failpoint(f"{at}.after")


def read_checked(store: Store, key: str, expected_sha256: str) -> bytes:
    """An immutable object, believed only by its digest. Raises DamagedObject when it is absent or another."""
    data = store.get(key)
    if data is None:
        raise DamagedObject(
            f"{key} is absent from {store.url}, and a record names it with digest {expected_sha256[:12]}…;"
            f" {restore(key)}"
        )
    found = sha256(data)
    if found != expected_sha256:
        raise DamagedObject(
            f"{key} in {store.url} is damaged: its digest is {found[:12]}…, the record says {expected_sha256[:12]}…;"
            f" {mend(key)}"
        )
    return data
