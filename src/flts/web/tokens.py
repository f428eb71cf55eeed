"""Bearer tokens: who has which rights, and until when. Of a token, only its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flts.contracts.errors import UsageError, nearest

Right = Literal["predict", "read", "admin"]
RIGHTS: frozenset[Right] = frozenset(get_args(Right))
"""predict: ask for forecasts; read: look at models, objects and the page; admin: change something."""
LARGEST = 2**20
"""Bytes of the largest file of tokens."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Token:
    """A token that may be sent. expires: seconds since 1970."""

    name: str
    rights: frozenset[Right]
    digest: bytes
    expires: float | None = None


def digest_of(token: bytes) -> bytes:
    """The SHA-256 of a token. Tokens are long and random, so that it needs no salt."""
    return hashlib.sha256(token).digest()


class Entry(BaseModel):
    """One `[[token]]` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    rights: list[Right] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: datetime | None = None

    @field_validator("expires", mode="before")
    @classmethod
    def _moment(cls, value: object) -> object:
        """A date-time of TOML, or the same as text."""
        if isinstance(value, str):
            return moment(value)
        if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
            return value
        raise ValueError("it takes a date and time of RFC 3339 with its offset, such as 2030-01-31T00:00:00Z")

    def token(self) -> Token:
        """The token that this entry allows."""
        expires = None if self.expires is None else self.expires.timestamp()
        return Token(self.name, frozenset(self.rights), bytes.fromhex(self.sha256), expires)

    def toml(self) -> str:
        """The entry as it stands in the file."""
        rights = ", ".join(f'"{right}"' for right in self.rights)
        lines = ["[[token]]", f'name = "{self.name}"', f"rights = [{rights}]", f'sha256 = "{self.sha256}"']
        if self.expires is not None:
            lines.append(f"expires = {self.expires.isoformat()}")
        return "\n".join(lines)


def moment(text: str) -> datetime:
    """A date and time of RFC 3339. Raises ValueError."""
    if _RFC_3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("it takes a date and time of RFC 3339 with its offset, such as 2030-01-31T00:00:00Z")


def read_tokens(file: Path) -> tuple[Token, ...]:
    """The tokens of a file. Raises UsageError that names the entry and the key, and never shows a value."""
    entries = _entries(file)
    tokens = tuple(_entry(file, number, entry).token() for number, entry in enumerate(entries, 1))
    _refuse_repeated(file, tokens)
    return tokens


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise _invalid(file, f"it has more than {LARGEST} bytes")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise UsageError(
            f"tokens_file {file} cannot be read: {error.strerror}", code="tokens-unreadable", file=str(file)
        ) from None
    except UnicodeDecodeError:
        raise _invalid(file, "it is not text in UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        line = re.search(r"\(at .*\)$", str(error))
        raise _invalid(file, f"it is not TOML{' ' + line.group() if line else ''}") from None
    for key in document:
        if key != "token":
            raise _invalid(file, f"unknown key '{_short(key)}'; every token is an entry [[token]]", key=_short(key))
    entries = document.get("token")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(file, "it has no entry [[token]]; `flts token new NAME` prints one")
    return entries


def _entry(file: Path, number: int, entry: dict[str, Any]) -> Entry:
    try:
        return Entry.model_validate(entry)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
    fault = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")  # a misspelt key is missing, too
    key = str(fault["loc"][0])
    where = f"entry {number} ('{_short(entry['name'])}')" if isinstance(entry.get("name"), str) else f"entry {number}"
    match key, fault["type"]:
        case _, "extra_forbidden":
            said = f"unknown key '{_short(key)}'; {nearest(key, Entry.model_fields)}"
        case _, "missing":
            said = f"the key '{key}' is missing"
        case "sha256", _:
            said = "sha256 takes the 64 hexadecimal digits that `flts token new` prints, in lower case"
        case "name", _:
            said = "name takes 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first"
        case "rights", _:
            said = f"rights takes a list of {', '.join(map(repr, get_args(Right)))}"
        case _:
            said = f"{key}: {fault['msg'].removeprefix('Value error, ')}"
    raise _invalid(file, f"{where}: {said}", entry=number, key=_short(key))


def _refuse_repeated(file: Path, tokens: Iterable[Token]) -> None:
    seen: dict[bytes, int] = {}
    for number, token in enumerate(tokens, 1):
        first = seen.setdefault(token.digest, number)
        if first != number:
            raise _invalid(
                file,
                f"entry {number} ('{token.name}'): sha256 is that of entry {first}, too; remove one of them",
                entry=number,
                key="sha256",
            )


def _invalid(file: Path, said: str, **data: str | int) -> UsageError:
    return UsageError(f"tokens_file {file}: {said}", code="tokens-invalid", file=str(file), **data)


def _short(text: str) -> str:
    """A name as it may be shown: a token that stands where a name belongs is not."""
    return text if re.fullmatch(r"[A-Za-z0-9._-]{1,24}", text) else f"{text[:6]}…"
