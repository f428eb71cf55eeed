"""How a record is parsed, upgraded and written; no other code turns stored JSON into values.

A record of an older version is read through the upgrade functions of its class, one version at a time. A change that
an older reader would misread raises `v` and adds an upgrade; `tests/golden` keeps stores of every format that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_serializer
from pydantic_core import from_json

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject
from flts.contracts.layout import mend, restore
from flts.contracts.ports import Store, write_once

MOST_BYTES = 64 * 2**20
"""Bytes of the largest record that is parsed."""
MOST_FAULTS = 3
"""Fields that a message about a damaged record names at most."""

JsonObject = dict[str, JsonValue]
"""Plain JSON that only the code that wrote it looks into."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Count = Annotated[int, Field(ge=0)]
R = TypeVar("R", bound=BaseModel)
Upgrade = Callable[[JsonObject], JsonObject]


class Part(BaseModel):
    """A part of a record: frozen, strict, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
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


def parse_record(kind: type[R], data: bytes, where: str, advice: str = "") -> R:
    """The record in these bytes; `where` names the object in a message, `advice` is what to do when it is damaged.

    Raises DamagedObject that names the object and the fields that do not fit, or the version that is not known: such a
    record is whole, so the advice is to read it with another flts.
    """
    if len(data) > MOST_BYTES:
        raise _damaged(where, f"it has {len(data):,} bytes, and at most {MOST_BYTES:,} are read", advice)
    try:
        found = from_json(data, allow_inf_nan=False)
    except ValueError as error:  # also for nesting that is too deep
        raise _damaged(where, f"not JSON ({error})", advice) from None
    if not isinstance(found, dict):
        raise _damaged(where, f"expected a JSON object, found {_kind(found)}", advice)
    current, version = version_of(kind), found.get("v")
    if type(version) is not int or version < 1:
        raise _damaged(where, f"v: expected a version number, found {version!r:.40}", advice)
    if version > current:
        by = found.get("flts")
        writer = f"flts {by}" if isinstance(by, str) else "a newer flts"
        raise DamagedObject(
            f"{where} was written by {writer} in version {version} of its format, and this flts reads up to version"
            f" {current}; use the flts that wrote it, or a newer one"
        )
    try:
        if version == current:
            return kind.model_validate_json(data)
        return kind.model_validate_json(canonical_json(_upgraded(kind, found, version, current, where, advice)))
    except ValidationError as error:
        raise _damaged(where, faults(error), advice) from None


def read_record(store: Store, key: str, kind: type[R]) -> R | None:
    """The record under a key, None when it is absent. Raises DamagedObject, which names the key and the mend."""
    data = store.get(key)
    return None if data is None else parse_stored(store, key, kind, data)


def require_record(store: Store, key: str, kind: type[R]) -> R:
    """The record under a key that another record names. Raises DamagedObject when it is absent or damaged."""
    found = read_record(store, key, kind)
    if found is None:
        raise DamagedObject(f"{key} is absent from {store.url}, and another record names it; {restore(key)}")
    return found


def parse_stored(store: Store, key: str, kind: type[R], data: bytes) -> R:
    """The record in bytes that were read from this key. Raises DamagedObject, which names the key and the mend."""
    return parse_record(kind, data, f"{key} in {store.url}", mend(key))


def write_record(store: Store, key: str, record: W, *, at: str) -> W:
    """Create a record and return the one that stands: this one, or that of whoever was first."""
    data = record.to_bytes()
    stood = write_once(store, key, data, at=at)
    return record if stood == data else parse_stored(store, key, type(record), stood)


def plain_json(value: Mapping[str, Any]) -> JsonObject:
    """A JSON object as it will be read back: tuples are lists. Raises ValueError for NaN and infinity."""
    read: JsonObject = from_json(canonical_json(value))
    return read


def faults(error: ValidationError) -> str:
    """The first fields that do not fit, as `path: reason`."""
    found = error.errors(include_url=False, include_input=False)
    said = [f"{'.'.join(str(part)[:60] for part in fault['loc']) or 'record'}: {fault['msg']}" for fault in found]
    more = f" and {len(said) - MOST_FAULTS} more" if len(said) > MOST_FAULTS else ""
    return "; ".join(said[:MOST_FAULTS]) + more


def _upgraded(
    kind: type[BaseModel], found: JsonObject, version: int, current: int, where: str, advice: str
) -> JsonObject:
    steps: Mapping[int, Upgrade] = getattr(kind, "upgrades", {})
    for older in range(version, current):
        if older not in steps:
            raise DamagedObject(
                f"{where} has version {version} of its format, which this flts no longer reads (it reads"
                f" {min(steps, default=current)} to {current}); upgrade with the release before this one"
            )
        try:
            found = {**steps[older](found), "v": older + 1}
        except (LookupError, TypeError, ValueError, AttributeError):  # an upgrade takes for granted what v says
            raise _damaged(where, f"it does not fit version {older} of its format", advice) from None
    return found


def _damaged(where: str, what: str, advice: str) -> DamagedObject:
    return DamagedObject("; ".join(filter(None, (f"{where} is damaged: {what}", advice))))


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
