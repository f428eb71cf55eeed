"""The body of `POST /predict` → what it asks for, exactly as it is written. Raises Problem for all that does not fit.

The other protocols take the parts of it that they share: how bytes are received and parsed, and what is checked.

orjson reads a body that is plain. It takes the last of two equal keys, so its result counts only where every quote of
the body belongs to a key or a text in it; the exact parser decides about all other bodies, and words the refusals.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from flts.contracts.errors import nearest
from flts.forecasting.intervals import LEVELS
from flts.preprocess.source import Raw
from flts.preprocess.times import LONG, quoted
from flts.server.columns import FUTURE, NAME, PLAIN, TEXT, Cells, Constant, shown
from flts.server.messages import at_once
from flts.server.wanted import DEFAULT_LEVEL, Wanted
from flts.web.problem import Problem

KEYS = ("history", "future", "horizon", "identifier", "level")
MAX_ROWS = 100_000
"""Rows of a history, and of the table of the rows to forecast."""
DISCARDED = 16 * 2**20
"""Bytes beyond the limit that are received before a body is refused."""
ON_LOOP = 128 * 2**10
"""Bytes that are parsed on the event loop, in about a millisecond; more are parsed in a thread."""
INTEGER_DIGITS = 18
"""Longer integers are read as floats: a cell is one in the end."""

LISTS, NESTED = frozenset({list}), frozenset({list, dict})

T = TypeVar("T")


async def receive_body(receive: Receive, limit: int, until: float, declared: bytes | None = None) -> bytes:
    """The bytes of a request. Raises Problem 413 where they are too many, whatever their declared length says.

    A body that is too large is not kept, but received for a while: a client that still sends reads no answer.
    until: when all of it has to be there, by the monotonic clock, or Problem 408 is raised; otherwise a client that
    stops in the middle would keep its connection. declared: the content of Content-Length. Raises ClientDisconnect
    where the client leaves.
    """
    if declared is not None and declared.isdigit() and int(declared[:20]) > limit + DISCARDED:
        raise _too_large(limit)
    first = at_once(receive)
    if first is not None and len(first.get("body", b"")) <= limit and not first.get("more_body", True):
        whole: bytes = first.get("body", b"")
        return whole
    try:
        async with asyncio.timeout_at(until):
            return await _received(receive, limit, first)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "the body did not arrive in time; send it again, or allow more seconds with X-Request-Timeout",
            {"Connection": "close"},
            code="body-late",
        ) from None


async def _received(receive: Receive, limit: int, first: Message | None) -> bytes:
    """The bytes of a request. first: its first message, if it was there at once."""
    parts, size = [], 0
    message = first or await receive()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif not more or size > limit + DISCARDED:
            raise _too_large(limit)
        else:
            parts.clear()
        if not more:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        message = await receive()


async def parse_body(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of a body; in a thread where that takes long."""
    return read(body) if len(body) <= ON_LOOP else await asyncio.to_thread(read, body)


def read_body(body: bytes) -> Wanted:
    """What a body asks for."""
    return quick(body) or exact(body)


def quick(body: bytes) -> Wanted | None:
    """What a plain body asks for; None where the exact parser has to decide."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(asked) is not dict or type(history := asked.get("history")) is not dict or b"\\" in body:
        return None
    if {*map(type, history.values())} != LISTS:
        return None
    beside = 0
    if len(asked) > 1:
        for key, value in asked.items():
            beside += type(value) is str
            if value and key != "history" and type(value) in NESTED:
                return None
    texts, cells = body.count(b'"') / 2 - len(asked) - len(history) - beside, _of_one_text(body, history)
    if cells.text is None or texts != len(history[cells.text]):
        cells = Cells(history)
        if texts != _texts(cells) or not frozenset().union(*cells.kinds.values()) <= PLAIN:
            return None
    return _wanted(asked, cells)


def _of_one_text(body: bytes, history: dict[str, list[Any]]) -> Cells:
    """The cells of a history. Nearly all have times and numbers only, which needs no look at every number."""
    texts = [name for name, cells in history.items() if cells and type(cells[0]) is str]
    plain = len(texts) == 1 and b"true" not in body and b"false" not in body
    return Cells(history, texts[0] if plain and {*map(type, history[texts[0]])} == TEXT else None)


def _texts(cells: Cells) -> int:
    """How many cells hold text."""
    held = (cells.columns[name] for name, kinds in cells.kinds.items() if str in kinds)
    return sum(type(cell) is str for column in held for cell in column)


def exact(body: bytes) -> Wanted:
    """What any body asks for."""
    asked = parse_json(body)
    if not isinstance(asked, dict):
        raise unfit("body-invalid", f"the body is {shown(asked)}; an object with the key 'history' fits")
    if "history" not in asked:
        raise unfit("key-missing", f"the key 'history' is missing{_meant(asked)}; it holds the columns by name")
    return _wanted(asked, cells_of(asked["history"], "history"))


def cells_of(columns: Any, name: str) -> Cells:
    """A table as an object of columns; name: the key that holds it."""
    if not isinstance(columns, dict):
        raise unfit("value-type", f"{name}: {shown(columns)} does not fit; {COLUMNS}")
    for column, cells in columns.items():
        if not isinstance(cells, list):
            raise unfit("value-type", f"{name}: column {quoted(column)} holds {shown(cells)}; {COLUMNS}")
    return Cells(columns)


COLUMNS = "an object of columns fits, each a list of its cells"


def parse_json(body: bytes) -> Any:
    """The value that a body holds. Raises Problem where it is no JSON, and for a key that stands twice in an object.

    A literal that JSON does not have, such as NaN, becomes a Constant, which no reader takes for a cell.
    """
    try:
        text = body.decode()
        asked = json.loads(text, object_pairs_hook=_once, parse_constant=Constant, parse_int=_integer)
        if "\\u" in text:
            json.dumps(asked, ensure_ascii=False).encode()  # an escape can name half a character
    except UnicodeError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not UTF-8: {error.reason}", code="not-utf-8") from None  # type: ignore[attr-defined]
    except RecursionError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is nested too deeply", code="too-deep") from None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}", code="not-json") from None
    return asked


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these pairs. Parsers commonly keep the last of two equal keys in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        count = Counter(key for key, _ in pairs)
        twice = next(key for key in found if count[key] > 1)
        raise unfit("key-twice", f"the key {quoted(twice)} stands twice in one object; keep one of them")
    return found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INTEGER_DIGITS else float(digits)


def _wanted(asked: dict[str, Any], history: Cells) -> Wanted:
    """Check everything but the cells, which the model of the scope decides about."""
    refuse_unknown(asked, KEYS)
    future = None if asked.get("future") in (None, {}) else cells_of(asked["future"], FUTURE)
    return wanted(history, asked, future)


def refuse_unknown(asked: Iterable[str], valid: Sequence[str], where: str = "") -> None:
    """Refuse a key that is not one of the valid ones. where: the object that holds it, for messages."""
    unknown = next((key for key in asked if key not in valid), None)
    if unknown is not None:
        raise unfit("key-unknown", f"{where}unknown key {quoted(unknown)}; {nearest(unknown[:LONG], valid)}")


def wanted(history: Raw | Cells, asked: Mapping[str, Any], future: Cells | None = None) -> Wanted:
    """A request for the forecast after a history. asked: may hold `horizon`, `level` and `identifier`."""
    for name, cells in ((NAME, history), (FUTURE, future)):
        if isinstance(cells, Cells):
            _check_rows(cells, name)
    horizon, level = asked.get("horizon"), asked.get("level")
    if horizon is not None and (type(horizon) is not int or horizon < 1):
        raise unfit("value-type", f"horizon: {shown(horizon)} does not fit; a whole number from 1 on fits")
    if level is not None and (type(level) not in {int, float} or level not in LEVELS):
        raise unfit("unknown-level", f"level: {shown(level)} is not available; valid: {_listed(LEVELS)}")
    identifier = asked.get("identifier")
    if identifier is not None and type(identifier) is not str:
        raise unfit("value-type", f"identifier: {shown(identifier)} does not fit; the name of a scope as text fits")
    asked_level = DEFAULT_LEVEL if level is None else float(level)
    return Wanted(history, identifier or None, horizon, asked_level, future=future)


def _check_rows(cells: Cells, table: str) -> None:
    """Refuse columns of other lengths, and more rows than MAX_ROWS."""
    lengths = {*map(len, cells.columns.values())}
    if lengths and max(lengths) > MAX_ROWS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{table}: {max(lengths):,} rows are more than the {MAX_ROWS:,} that a request may have; send the newest",
            code="too-many-rows",
        )
    if len(lengths) > 1:
        first, *others = cells.columns.items()
        name, column = next((name, column) for name, column in others if len(column) != len(first[1]))
        raise unfit(
            "columns-unequal",
            f"{table}: column {quoted(name)} has {len(column):,} cells and {quoted(first[0])} has {len(first[1]):,};"
            " each column has one cell for each row, null where nothing was measured",
        )


def _meant(asked: Iterable[str]) -> str:
    """The key that may have been meant as 'history'."""
    unknown = next((key for key in asked if key not in KEYS), None)
    return f", and {quoted(unknown)} is unknown" if unknown is not None else ""


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def unfit(code: str, detail: str) -> Problem:
    """A request that can be read and does not fit."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, code=code)


def _too_large(limit: int) -> Problem:
    detail = f"the body is larger than {limit:,} bytes; send the newest rows only"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"}, code="body-too-large")
