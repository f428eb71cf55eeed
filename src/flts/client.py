"""A client of the forecast service: a history in, a typed forecast out, and its errors as exceptions.

    with flts.Client("http://127.0.0.1:8000") as client:
        forecast = client.forecast(history, identifier="jfk", horizon=3)
        print(forecast.rows[0].mean, forecast.frame())

`AsyncClient` is the same with `async with` and `await`. What both do is written once, in `_Shared`.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias

from flts.contracts.errors import DataError, MissingExtra, RequestRefused, ServiceUnavailable, UsageError
from flts.contracts.notices import Notice

if TYPE_CHECKING:
    import httpx
    import pandas as pd
    import polars as pl

    History: TypeAlias = Mapping[str, Sequence[Any]] | pd.DataFrame | pl.DataFrame

URL = "http://127.0.0.1:8000"
LONGEST = 300.0
"""Seconds that the service allows a request at most."""
PAUSE = 0.2
"""Seconds before the first further attempt where the service names none; each later pause is twice as long."""
SPREAD = 0.25
"""By which share pauses are longer at random, so that clients that were refused together do not return together."""
_CHANCE = random.SystemRandom()  # of its own: those of the program that asks may be seeded
AGAIN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Answers after which the same request may succeed in a moment."""
PLAIN = frozenset({float, int, str, bool, type(None)})
TRANSIENT = AGAIN | {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}


@dataclass(frozen=True)
class ForecastRow:
    """One step of one target in original units; a bound that the model does not have is None."""

    time: datetime
    target: str
    mean: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class PromotedModel:
    """Which model made a forecast. promotion: the number of its entry in the promotion log of its scope."""

    model_type: str
    run_id: str | None
    model_hash: str
    config_hash: str
    promotion: int


@dataclass(frozen=True)
class Forecast:
    """What the service answered.

    rows: one for each step and target, in order of time; interval: `adaptive`, `static` or `none`; warnings: what to
    know about the history; request_id: under which `flts trace` finds the answer.
    """

    rows: tuple[ForecastRow, ...]
    interval: str
    warnings: tuple[Notice, ...]
    model: PromotedModel
    request_id: str

    def frame(self) -> pl.DataFrame:
        """A table with columns time (UTC), target, mean, lower, upper; one row per step and target."""
        import polars as pl

        moment, number = pl.Datetime("us", "UTC"), pl.Float64()
        schema = {"time": moment, "target": pl.String(), "mean": number, "lower": number, "upper": number}
        return pl.DataFrame([vars(row) for row in self.rows], schema=schema)


@dataclass(frozen=True)
class _Failure:
    """Why there was no answer at all. again: whether another attempt makes sense."""

    reason: str
    again: bool


Post: TypeAlias = "Callable[..., Awaitable[httpx.Response]]"
"""The method `post` of a client of httpx."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class _Shared:
    """What both clients know. url: of the service; timeout: seconds of a whole call; retries: further attempts.

    post and sleep: how a client sends and waits; those of `Client` never suspend.
    """

    url: str
    token: str | None
    timeout: float
    retries: int
    post: Post
    sleep: Sleep

    def __post_init__(self) -> None:
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UsageError(
                "the token of the client has a character that no header can hold, such as the end of a line; read it"
                " with .strip()",
                code="token-invalid",
            )

    async def forecast(
        self, history: History, identifier: str | None, horizon: int | None, level: float | None, future: History | None
    ) -> Forecast:
        """One call with all its attempts. Raises ClientError, DataError."""
        asked = {"history": columns_of(history), "identifier": identifier, "horizon": horizon, "level": level}
        asked["future"] = None if future is None else columns_of(future, "future")
        body = _json({key: value for key, value in asked.items() if value is not None})
        end = time.monotonic() + self.timeout
        for attempt in range(self.retries + 1):
            found = await self._attempt(body, max(0.001, end - time.monotonic()))
            if not isinstance(found, _Failure) and found.status_code == HTTPStatus.OK:
                return _forecast(found)
            pause = _pause(found, attempt)
            if pause is None or attempt == self.retries or time.monotonic() + pause >= end:
                self._give_up(found)
            await self.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, body: bytes, seconds: float) -> httpx.Response | _Failure:
        """What comes back within some seconds."""
        import httpx

        headers = {"Content-Type": "application/json", "X-Request-Timeout": f"{min(seconds, LONGEST):.3f}"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            return await self.post(f"{self.url}/predict", content=body, headers=headers, timeout=seconds)
        except httpx.TransportError as error:
            again = not isinstance(error, httpx.TimeoutException | httpx.UnsupportedProtocol)
            return _Failure(f"{type(error).__name__} {error}".strip(), again)

    def _give_up(self, found: httpx.Response | _Failure) -> NoReturn:
        """Raise the error of an answer, as its problem document says it."""
        if isinstance(found, _Failure):
            raise ServiceUnavailable(f"{self.url} does not answer: {found.reason}", code="no-answer", url=self.url)
        status = found.status_code
        document = _object(found)
        detail = document.get("detail") or f"{self.url} answered {status} without saying why"
        kind = ServiceUnavailable if status in TRANSIENT else RequestRefused
        request_id = found.headers.get("x-request-id")
        raise kind(
            str(detail), code=str(document.get("code") or f"http-{status}"), status=status, request_id=request_id
        )


class Client:
    """Asks a forecast service. Use it with `with`, or end it with `close`; threads may share it."""

    def __init__(
        self,
        url: str = URL,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """timeout: seconds that a call may take with all its attempts, which the service is told; retries: further
        attempts where the service is busy, has no model yet, or cannot be reached; transport: that of httpx.

        Raises MissingExtra, and UsageError for a token that no header can hold.
        """
        self._http: httpx.Client = _httpx().Client(transport=transport)

        async def post(url: str, **options: Any) -> httpx.Response:
            return self._http.post(url, **options)

        async def sleep(seconds: float) -> None:
            time.sleep(seconds)

        self._shared = _Shared(url.rstrip("/"), token, timeout, retries, post, sleep)

    def forecast(
        self,
        history: History,
        *,
        identifier: str | None = None,
        horizon: int | None = None,
        level: float | None = None,
        future: History | None = None,
    ) -> Forecast:
        """The forecast after a history: its columns as lists by name, or a table of pandas or polars.

        NaN is an empty cell. identifier: a scope, by default `global` or the only one there is; horizon: steps, by
        default as many as the model was trained for; level: of the interval, 0.8 by default; future: the rows to
        forecast with the columns that the model knows ahead, unless they are the last rows of the history. Raises
        RequestRefused for what the service does not take, ServiceUnavailable where it gives no answer in time,
        DataError for a table that cannot be sent.
        """
        return _at_once(self._shared.forecast(history, identifier, horizon, level, future))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """Asks a forecast service from asyncio. Use it with `async with`, or end it with `close`; tasks may share it."""

    def __init__(
        self,
        url: str = URL,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As for `Client`."""
        self._http: httpx.AsyncClient = _httpx().AsyncClient(transport=transport)
        self._shared = _Shared(url.rstrip("/"), token, timeout, retries, self._http.post, asyncio.sleep)

    async def forecast(
        self,
        history: History,
        *,
        identifier: str | None = None,
        horizon: int | None = None,
        level: float | None = None,
        future: History | None = None,
    ) -> Forecast:
        """As `Client.forecast`."""
        return await self._shared.forecast(history, identifier, horizon, level, future)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise MissingExtra("flts.Client", "client") from None
    return httpx


def _at_once(call: Coroutine[Any, Any, Forecast]) -> Forecast:
    """The result of a coroutine that never suspends."""
    try:
        call.send(None)
    except StopIteration as ended:
        forecast: Forecast = ended.value
        return forecast
    raise AssertionError("it suspends")


def _pause(found: httpx.Response | _Failure, attempt: int) -> float | None:
    """Seconds before another attempt; None where none makes sense."""
    named = 0.0
    if isinstance(found, _Failure):
        if not found.again:
            return None
    elif found.status_code not in AGAIN:
        return None
    else:
        text = found.headers.get("retry-after", "")
        named = float(text) if text.isdecimal() else 0.0
    return (named or PAUSE * 2.0**attempt) * (1.0 + SPREAD * _CHANCE.random())


def columns_of(history: History, table: str = "history") -> Mapping[str, Sequence[Any]]:
    """A table as the lists of cells that JSON has. Imports polars for all but lists and tuples. Raises DataError."""
    if isinstance(history, Mapping) and all(isinstance(cells, list | tuple) for cells in history.values()):
        return {name: [*_cells(table, name, cells)] for name, cells in history.items()}
    import polars as pl

    from flts.preprocess.source import RawTable

    frame = RawTable.of(table, history).table
    moments = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
    written = frame.with_columns(pl.col(moments).dt.to_string("iso:strict"))
    return {
        name: [*_cells(table, name, column.to_list())] for name, column in zip(written.columns, written, strict=True)
    }


def _cells(table: str, name: str, cells: Sequence[Any]) -> Iterator[Any]:
    for row, given in enumerate(cells, 1):
        cell = given if type(given) in PLAIN else _plain(given)
        if isinstance(cell, float) and not math.isfinite(cell):
            if math.isinf(cell):
                raise DataError(
                    f"{table}: row {row:,}, column '{name}': {cell} does not fit; a finite number or None does",
                    code="cell-unfit",
                    column=name,
                    row=row,
                )
            cell = None
        yield cell


def _plain(cell: Any) -> Any:
    """A time as text, and a number of numpy as one of Python."""
    if hasattr(cell, "isoformat"):
        return cell.isoformat()
    return cell.item() if hasattr(cell, "item") else cell


def _json(asked: Any) -> bytes:
    try:
        return json.dumps(asked, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"history: cannot be sent: {error}", code="history-unfit") from None


def _object(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where it has none, as from a proxy."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _forecast(answer: httpx.Response) -> Forecast:
    """The forecast in an answer; what a newer service says beside it is left out. Raises RequestRefused for another."""
    try:
        document = answer.json()
        rows = [
            ForecastRow(datetime.fromisoformat(row["time"]), row["target"], row["mean"], row["lower"], row["upper"])
            for row in document["forecasts"]
        ]
        warnings = [Notice(one["code"], one["text"], one["column"], one["row"]) for one in document["warnings"]]
        model = PromotedModel(**{field.name: document["model"][field.name] for field in fields(PromotedModel)})
        return Forecast(tuple(rows), document["interval"], tuple(warnings), model, document["request_id"])
    except (ValueError, KeyError, TypeError):
        raise RequestRefused(
            f"{answer.url} answered something else than a forecast; is it a forecast service?",
            code="no-forecast",
            status=answer.status_code,
        ) from None
