"""What the stages need from the outside world, as Protocols; `backends/` holds the adapters.

Beside them are the four ways in which a stage uses a store: every write has a name at which a crash test can stop it,
and every read of an immutable object checks its digest.
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
"""Bytes of one part of a large upload: the smallest that S3 accepts."""


class Store(Protocol):
    """Objects by key. Keys are `bucket/path`; an object is whole or absent, never half written."""

    url: str

    def get(self, key: str) -> bytes | None:
        """The object, or None when it is absent. Raises BackendUnavailable."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a new object; False when one exists, which is left unchanged."""

    def replace(self, key: str, data: bytes) -> None:
        """Write an object whether or not it exists; only for pointers."""

    def erase(self, key: str) -> None:
        """Take an object away; does nothing when it is absent. For what is in quarantine, pointers, and marks."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def list(self, prefix: str) -> Sequence[str]:
        """All keys that start with the prefix, sorted."""

    def first(self, folder: str, most: int, after: str = "") -> Sequence[str]:
        """The first so many keys under a folder, or those after a key, sorted folder by folder. Folders end with '/'.

        It takes as many requests as these keys need, however many there are; on a disk, what each folder of them holds.
        """

    def folders(self, folder: str) -> Sequence[str]:
        """The folders right below a folder, each with its '/', sorted. What lies in them costs nothing."""


@dataclass(frozen=True)
class Stored:
    """The metadata of a stored object."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the bytes change; quoted as in HTTP."""
    modified: datetime


class DatedStore(Store, Protocol):
    """A Store that says when its objects were written."""

    def dated(self, prefix: str, ending: str = "") -> Mapping[str, datetime]:
        """When each object was last written whose key starts and ends so, in UTC and by the store's clock.

        It costs what `list` costs: no object is read. In a copy of a store it is when the copy was made.
        """


class StreamedStore(DatedStore, Protocol):
    """A Store whose objects may be larger than memory, for the gateway."""

    async def look(self, key: str) -> Stored | None:
        """The metadata of an object, or None when it is absent. Raises BackendUnavailable."""

    async def stream(self, stored: Stored, start: int, end: int) -> AsyncIterator[bytes] | None:
        """Bytes `start` to `end` (exclusive) of the object that `look` returned, or None when it has changed since.

        Raises StageFailed when the object is replaced after the first bytes were read.
        """

    async def upload(self, key: str, chunks: AsyncIterable[bytes], *, only_new: bool = False) -> str | None:
        """Write an object when the chunks end, nothing when they raise; returns its etag.

        only_new: return None when the object exists; of several concurrent writers one wins, as with `create`.
        Raises NameTaken, BackendUnavailable.
        """

    async def delete(self, key: str) -> None:
        """Delete an object; does nothing when it is absent."""

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Stored]:
        """The first `limit` objects under the prefix that come after `after`, by key or folder by folder.

        A store keeps one of these orders. It is asked for no more objects than these, however many there are.
        """

    async def probe(self) -> None:
        """Return when the store answers. Raises BackendUnavailable, or StageFailed for an absent folder."""


@dataclass(frozen=True)
class Record:
    """One message in a topic. Bytes of a key or header that are not UTF-8 are kept as surrogates."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    timestamp_ms: int
    """When it was sent, in milliseconds since 1970, UTC."""


@dataclass(frozen=True)
class Place:
    """Where a message lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class BusState:
    """The state of a bus, for diagnosis."""

    brokers: Sequence[str]
    topics: Mapping[str, int]
    """Partitions by topic."""
    members: Mapping[str, Sequence[str]]
    """Names of the live members by group; empty for a group without members."""


class Subscription(Protocol):
    """A member of a group, for one thread. Each partition of a topic belongs to one member at a time.

    A record that is not committed is delivered again: after `close`, after a crash, or when its partition moves to
    another member. Handlers must be idempotent.

    A subscription outlives an outage of the bus: after BackendUnavailable it goes on by itself when the bus is back.
    """

    def poll(self, timeout: float) -> Record | None:
        """The next record, or None when none came in `timeout` seconds. Raises BackendUnavailable."""

    def stay(self, record: Record, timeout: float) -> bool:
        """Remain in the group for `timeout` seconds without taking more records, while one is being handled.

        False when its partition moved to another member, which will get the record too.
        """

    def commit(self, record: Record) -> None:
        """Mark this record and all before it in its partition as handled; they are not delivered again.

        Does nothing when the partition moved to another member. Raises BackendUnavailable.
        """

    def close(self) -> None:
        """Leave the group; uncommitted records go to the next member."""


class Bus(Protocol):
    """Topics with at-least-once delivery, in order within a key. Any thread may use it."""

    url: str

    def ensure(self, topics: Sequence[str]) -> None:
        """Create the topics that do not exist; a broker need not create topics by itself."""

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        """Return when the message is acknowledged: where it lies, or None where nobody will find it there.

        Raises BackendUnavailable when that is not certain.
        """

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        """Join a group; a new group starts at the oldest message."""

    def records(self, topic: str, newest: int | None = None) -> Sequence[Record]:
        """All records that a topic has now, partition by partition, without joining a group.

        newest: only so many of each partition, which costs no more where there are more.
        """

    def lag(self, topic: str, group: str) -> int:
        """How many records of a topic the group has not committed."""

    def describe(self, groups: Sequence[str] = ()) -> BusState:
        """Brokers, topics and members at this moment. Raises BackendUnavailable."""

    def close(self) -> None:
        """Close the connections to the brokers."""


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
    """The extra that is needed to load the bundle."""
    columns: Sequence[str]
    """Columns of a history."""
    artifacts: Mapping[str, bytes]
    started_ms: int
    ended_ms: int
    packages: Sequence[str] = ()
    """Further requirements for loading the bundle, in the syntax of pip."""


@dataclass(frozen=True)
class SeenRun:
    """One run as an experiment tracker shows it now."""

    experiment: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    started_ms: int
    ended_ms: int | None


def experiment_of(scope: str) -> str:
    """Name of the tracker's experiment for a scope."""
    return f"flts/{scope}"


class Tracker(Protocol):
    """Where people look at runs; no decision depends on it."""

    uri: str

    def prepare(self, scope: str) -> None:
        """Get ready to log; returns at once."""

    def reserve(self) -> str | None:
        """An id under which `log` can write a run later, known at once; None for a tracker that gives ids itself."""

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        """Write one ended run; returns its id, or that of the same run when it was logged before.

        run_id: one that was reserved for this run. What a process wrote under it before it was killed is completed.
        """

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        """Id of the oldest finished run with these tags, in any scope; None when this tracker has none.

        other_than: tags for which the run must have a different value.
        """

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Add metrics and tags to a run after it was judged."""

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str, entry_sha256: str) -> None:
        """Register the promoted model as a version and move the alias `champion` to it.

        entry_sha256: of the log entry that made it champion, which the version names.
        """

    def look(self, run_id: str) -> SeenRun | None:
        """A run as it is now; None when this tracker has none of this id."""

    def champion(self, scope: str) -> Mapping[str, str] | None:
        """The tags of the version that the alias `champion` of a scope names; None when there is none."""

    def check(self) -> None:
        """Return when the tracker answers. Raises BackendUnavailable."""

    def close(self) -> None:
        """Release what the tracker holds; nothing is logged afterwards."""


class Clock(Protocol):
    """Wall time, for time stamps; no result depends on it."""

    def now(self) -> datetime:
        """Aware UTC time."""


class Progress(Protocol):
    """Receives the progress of a fit."""

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        """One pass over the training windows is done."""

    def phase(self, name: str) -> None:
        """The step that starts now: fit, validate, refit, save or forecast."""


class Silent:
    """A Progress that reports nothing."""

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        """Ignore an epoch."""

    def phase(self, name: str) -> None:
        """Ignore a phase."""


def write_once(store: Store, key: str, data: bytes, *, at: str) -> bytes:
    """Create an object and return the stored bytes: these, or those of an earlier writer."""
    failpoint(f"{at}.before")
    created = store.create(key, data)
    failpoint(f"{at}.after")
    if created:
        return data
    first = store.get(key)
    if first is None:
        raise DamagedObject(
            f"{key} in {store.url} could not be created because it exists, and could not be read because it is absent",
            code="object-missing",
            key=key,
        )
    return first


def point_at(store: Store, key: str, data: bytes, *, at: str) -> None:
    """Move a pointer."""
    failpoint(f"{at}.before")
    store.replace(key, data)
    failpoint(f"{at}.after")


def take_away(store: Store, key: str, *, at: str) -> None:
    """Remove an object."""
    failpoint(f"{at}.before")
    store.erase(key)
    failpoint(f"{at}.after")


def read_checked(store: Store, key: str, expected_sha256: str) -> bytes:
    """An immutable object, its digest checked. Raises DamagedObject when it is absent or its digest differs."""
    data = store.get(key)
    if data is None:
        raise DamagedObject(
            f"{key} is absent from {store.url}, and a record names it with digest {expected_sha256[:12]}…;"
            f" {restore(key)}",
            code="object-missing",
            key=key,
            expected=expected_sha256,
        )
    found_sha256 = sha256(data)
    if found_sha256 != expected_sha256:
        raise changed(store, key, expected_sha256, found_sha256)
    return data


def changed(
    store: Store, key: str, expected_sha256: str, found_sha256: str, said: str = "the record says"
) -> DamagedObject:
    """The error for an object with another digest than the one that was recorded; `said`: who names that one."""
    return DamagedObject(
        f"{key} in {store.url} is damaged: its digest is {found_sha256[:12]}…, {said} {expected_sha256[:12]}…;"
        f" {mend(key)}",
        code="digest-differs",
        key=key,
        expected=expected_sha256,
        found=found_sha256,
    )
