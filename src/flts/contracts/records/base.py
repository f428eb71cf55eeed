"""How a record is parsed, upgraded and written; no other code parses stored JSON.

A record of an older version is read through the upgrade functions of its class, one version at a time. A change that
an older reader would misread raises `v` and adds an upgrade; `tests/golden` keeps stores of every format that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_serializer
from pydantic_core import from_json

from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.layout import identity, mend, restore, scope_name
from flts.contracts.moments import moment
from flts.contracts.ports import Store, write_once

MOST_BYTES = 64 * 2**20
"""Bytes of the largest record that is parsed."""
MOST_FAULTS = 3
"""Fields that a message about a damaged record names at most."""

JsonObject = dict[str, JsonValue]
"""Plain JSON that only the code that wrote it interprets."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Count = Annotated[int, Field(ge=0)]
Number = Annotated[int, Field(ge=1)]
"""Of a run, or of an entry of the promotion log."""
ScopeName = Annotated[str, AfterValidator(scope_name)]


def _time(value: str) -> str:
    """The same text. Raises ValueError for one that no clock writes."""
    moment(datetime.fromisoformat(value))
    return value


Time = Annotated[str, AfterValidator(_time)]
"""When something happened, RFC 3339 with its offset; kept as it is written."""
R = TypeVar("R", bound=BaseModel)
Upgrade = Callable[[JsonObject], JsonObject]


class Part(BaseModel):
    """A part of a record: frozen, strict, without unknown keys, NaN or infinity."""

    # built when first used: a command reads a few kinds of the many, and building all of them takes a quarter second
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, defer_build=True
    )

    absent_when_none: ClassVar[frozenset[str]] = frozenset()
    """Fields that are left out of the stored object while they are None."""

    @model_serializer(mode="wrap")
    def _stored(self, handler: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        fields = handler(self)
        return {k: v for k, v in fields.items() if v is not None or k not in self.absent_when_none}


class StoredRecord(Part):
    """A stored JSON object."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {}
    """From an older version to the next one."""

    v: int
    """Version of this kind of record."""

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))


W = TypeVar("W", bound=StoredRecord)


def version_of(kind: type[BaseModel]) -> int:
    """The version of a kind of record that this code writes."""
    return int(kind.model_fields["v"].default)


def parse_record(kind: type[R], data: bytes, where: str, advice: str = "", *, key: str | None = None) -> R:
    """The record in these bytes; `where` names the object in a message, `advice` is what to do when it is damaged.

    Raises DamagedObject with the `key` and a code. record-damaged: the bytes are not such a record, and `fields` lists
    those that do not fit. record-misplaced: it is the record of another key than this one, and `fields` lists those
    that say so. record-newer, record-older: the record is whole, and another flts reads its version.
    """

    def damaged(what: str, *fields: str) -> DamagedObject:
        return _damaged(what, where, advice, key, fields)

    record = parse_object(data, where, advice, key=key)
    current, version = version_of(kind), record.get("v")
    if type(version) is not int or version < 1:
        raise damaged(f"v: expected a version number, found {version!r:.40}", "v")
    if version > current:
        by = record.get("flts")
        writer = f"flts {by}" if isinstance(by, str) else "a newer flts"
        raise DamagedObject(
            f"{where} was written by {writer} in version {version} of its format, and this flts reads up to version"
            f" {current}; use the flts that wrote it, or a newer one",
            code="record-newer",
            key=key,
            version=version,
            reads=current,
        )
    upgrades: Mapping[int, Upgrade] = getattr(kind, "upgrades", {})
    absent = next((older for older in range(version, current) if older not in upgrades), None)
    if absent is not None:
        oldest = min(upgrades, default=current)
        raise DamagedObject(
            f"{where} has version {version} of its format, which this flts no longer reads (it reads {oldest} to"
            f" {current}); upgrade with the release before this one",
            code="record-older",
            key=key,
            version=version,
            reads=oldest,
        )
    for older in range(version, current):
        try:
            record = {**upgrades[older](record), "v": older + 1}
        except (LookupError, TypeError, ValueError, AttributeError):  # an upgrade relies on the format that v names
            raise damaged(f"it does not fit version {older} of its format") from None
    try:
        parsed = kind.model_validate_json(data if version == current else canonical_json(record))
    except ValidationError as error:
        raise damaged(_faults(error), *_fields(error)) from None
    named = identity(key) if key is not None else {}
    misplaced = [field for field, value in named.items() if getattr(parsed, field, value) != value]
    if misplaced:
        faults = "; ".join(
            f"{field}: expected {named[field]!r}, found {getattr(parsed, field)!r:.80}" for field in misplaced
        )
        message = "; ".join(filter(None, (f"{where} holds the record of another key: {faults}", advice)))
        raise DamagedObject(message, code="record-misplaced", key=key, fields=tuple(misplaced))
    return parsed


def parse_object(data: bytes, where: str, advice: str = "", *, key: str | None = None) -> JsonObject:
    """The plain JSON object in these bytes, for a reader that shows it as it is stored. Raises DamagedObject."""
    if len(data) > MOST_BYTES:
        raise _damaged(f"it has {len(data):,} bytes, and at most {MOST_BYTES:,} are read", where, advice, key)
    try:
        found = from_json(data, allow_inf_nan=False)
    except ValueError as error:  # also for nesting that is too deep
        raise _damaged(f"not JSON ({error})", where, advice, key) from None
    if not isinstance(found, dict):
        raise _damaged(f"expected a JSON object, found {_kind(found)}", where, advice, key)
    return found


def read_object(store: Store, key: str) -> JsonObject | None:
    """The plain JSON object under a key, None when it is absent. Raises DamagedObject."""
    data = store.get(key)
    return None if data is None else parse_object(data, f"{key} in {store.url}", mend(key), key=key)


def require_object(store: Store, key: str) -> JsonObject:
    """The plain JSON object under a key that must exist. Raises DamagedObject when it is absent or damaged."""
    found = read_object(store, key)
    if found is None:
        raise _absent(store, key)
    return found


def read_record(store: Store, key: str, kind: type[R]) -> R | None:
    """The record under a key, None when it is absent. Raises DamagedObject with the key and what to do about it."""
    data = store.get(key)
    return None if data is None else parse_stored(store, key, kind, data)


def read_sealed(store: Store, key: str, kind: type[R]) -> tuple[R, str] | None:
    """The record under a key and the SHA-256 of its stored bytes, None when it is absent. Raises DamagedObject."""
    data = store.get(key)
    return None if data is None else (parse_stored(store, key, kind, data), sha256(data))


def require_sealed(store: Store, key: str, kind: type[R]) -> tuple[R, str]:
    """As `read_sealed`, of a key that another record names. Raises DamagedObject also when it is absent."""
    found = read_sealed(store, key, kind)
    if found is None:
        raise _absent(store, key)
    return found


def require_record(store: Store, key: str, kind: type[R]) -> R:
    """The record under a key that another record names. Raises DamagedObject when it is absent or damaged."""
    record = read_record(store, key, kind)
    if record is None:
        raise _absent(store, key)
    return record


def parse_stored(store: Store, key: str, kind: type[R], data: bytes) -> R:
    """The record in bytes that were read from this key. Raises DamagedObject with the key and what to do about it."""
    return parse_record(kind, data, f"{key} in {store.url}", mend(key), key=key)


def write_record(store: Store, key: str, record: W, *, at: str) -> W:
    """Create a record and return the stored one: this one, or that of an earlier writer."""
    data = record.to_bytes()
    stored = write_once(store, key, data, at=at)
    return record if stored == data else parse_stored(store, key, type(record), stored)


def plain_json(value: Mapping[str, Any]) -> JsonObject:
    """A JSON object as it will be read back: tuples become lists. Raises ValueError for NaN and infinity."""
    plain: JsonObject = from_json(canonical_json(value))
    return plain


def _absent(store: Store, key: str) -> DamagedObject:
    return DamagedObject(
        f"{key} is absent from {store.url}, and another record names it; {restore(key)}",
        code="object-missing",
        key=key,
    )


def _damaged(what: str, where: str, advice: str, key: str | None, fields: Sequence[str] = ()) -> DamagedObject:
    message = "; ".join(filter(None, (f"{where} is damaged: {what}", advice)))
    return DamagedObject(message, code="record-damaged", key=key, fields=fields)


def _faults(error: ValidationError) -> str:
    """The first fields that do not fit, as `path: reason`."""
    details = error.errors(include_url=False, include_input=False)
    faults = [f"{field}: {detail['msg']}" for field, detail in zip(_fields(error), details, strict=True)]
    more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return "; ".join(faults[:MOST_FAULTS]) + more


def _fields(error: ValidationError) -> list[str]:
    """Paths of the fields that do not fit."""
    details = error.errors(include_url=False, include_input=False)
    return [".".join(str(part)[:60] for part in detail["loc"]) or "record" for detail in details]


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
