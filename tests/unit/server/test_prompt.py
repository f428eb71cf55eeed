"""What is answered or refused where it was read is what the endpoint would say, and costs no task."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import pytest
from tests.support.connected import Talk, post
from tests.support.promotions import promote, two_bundles
from tests.support.series import hourly, table

from flts.contracts import events
from flts.server.app import create_app
from flts.server.document import to_bytes
from flts.server.invocations import PATH as INVOCATIONS
from flts.server.models import ServedModels
from flts.server.service import ForecastService
from flts.server.turns import FULL
from flts.web.direct import LONGEST, Direct
from flts.web.security import Auth
from flts.web.tokens import Token, digest_of

PLAIN = 12
"""Rows of a history that needs one window."""
IDS = re.compile(rb"[0-9]{8}-global-[0-9a-f-]{36}|[0-9a-f]{8}-[0-9a-f-]{27}")


@cache
def body(rows: int = PLAIN, *, reverse: bool = False, **keys: Any) -> bytes:
    columns = table(hourly(rows)).to_dict(as_series=False)
    columns["time"] = [f"{time.isoformat()}Z" for time in columns["time"]]
    if reverse:
        columns = {name: cells[::-1] for name, cells in columns.items()}
    return json.dumps({"history": columns, **keys}).encode()


class Served:
    """A service with a champion, and the events that it logs."""

    def __init__(self, auth: Auth | None = None, **options: Any) -> None:
        store, first, _ = two_bundles()
        promote(first, store=store)
        models = ServedModels(store)
        models.catch_up()
        self.service, self.logged = ForecastService(models, **options), list[events.Event]()
        self.app = create_app(
            self.service, auth=auth or Auth("127.0.0.1", None), emit=lambda make: self.logged.append(make())
        )

    def fill(self) -> None:
        """Let the queue be full."""
        self.service.turns._limit = 0

    def counted(self, name: str, **labels: str) -> float | None:
        count: float | None = self.app.state.metrics.registry.get_sample_value(name, labels)
        return count


@pytest.fixture(autouse=True)
def _logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "wanted", lambda: True)


def running(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def alike(answer: bytes) -> tuple[bytes, set[bytes], bytes]:
    """The first line of an answer, its headers in any order, and its body; but for its id."""
    head, _, data = IDS.sub(b"ID", answer).partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return first, set(headers), data


async def by_a_task(client: Talk, request: bytes) -> bytes:
    """The answer to a request whose last byte comes late, so that a task has to wait for it."""
    client.send(request[:-1], request[-1:])
    (task,) = client.tasks
    answer = await client.answer()
    await task
    await asyncio.sleep(0.0)  # the server forgets it
    return answer


async def at_once(client: Talk, request: bytes) -> bytes:
    """The answer to a request that no task has to do with."""
    client.send(request)
    assert not client.tasks
    return await client.answer()


@pytest.mark.parametrize("headers", [(), ("X-Request-Id: order-17", "X-Request-Timeout: 5")])
@pytest.mark.parametrize("keys", [{}, {"horizon": 1, "level": 0.9}])
def test_a_plain_request_gets_the_same_answer_without_a_task(headers: tuple[str, ...], keys: dict[str, Any]) -> None:
    async def test() -> None:
        served = Served()
        client, request = Talk(served.app), post("/predict", body(**keys), *headers)
        await by_a_task(client, request)  # a thread answers the first one
        prompt, slow = await at_once(client, request), await by_a_task(client, request)
        assert prompt.startswith(b"HTTP/1.1 200 ")
        assert alike(prompt) == alike(slow)
        lines: Any = served.logged[-2:]
        assert [(line.event, line.received, line.sent, line.caller_id) for line in lines] == [
            ("forecast_served", len(body(**keys)), len(slow.partition(b"\r\n\r\n")[2]), lines[1].caller_id)
        ] * 2
        assert lines[0].request_id.encode() in prompt
        assert served.counted("flts_serve_requests_total", method="POST", route="/predict", status="200") == 3

    running(test)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post("/predict", body(reverse=True)), 200),
        (post("/predict", body(horizon=99)), 422),
        (post("/predict", body(5)), 422),
        (post("/predict", body(), "X-Request-Timeout: soon"), 422),
        (post("/predict", body(), "Content-Encoding: gzip"), 415),
        (post("/predict", body(identifier="south")), 404),
        (post("/predict", b"nonsense"), 400),
        (post("/predict", body(), "Host: localhost"), 400),
        (post("/predict", body()).replace(b"localhost", b"evil.example"), 421),
        (post(INVOCATIONS, body(), "Content-Type: application/json"), 400),
        (post("/nowhere", body()), 404),
    ],
)
def test_a_task_answers_whatever_is_not_plain(request_: bytes, status: int) -> None:
    async def test() -> None:
        served = Served()
        client = Talk(served.app)
        client.send(request_)
        assert (await client.answer()).startswith(b"HTTP/1.1 %d " % status)

    running(test)


def test_a_token_pays_once_for_a_request_that_a_task_has_to_answer() -> None:
    async def test() -> None:
        tokens = (Token("press", frozenset({"predict"}), digest_of(b"secret")),)
        client = Talk(Served(Auth("127.0.0.1", None, lambda: tokens, rate=2.0)).app)
        unsorted = post("/predict", body(reverse=True), "Authorization: Bearer secret")
        found = []
        for _ in range(3):
            client.send(unsorted)
            found.append((await client.answer())[9:12])
        assert found == [b"200", b"200", b"429"]
        client.send(post("/predict", body(), "Authorization: Bearer guess"))
        assert (await client.answer()).startswith(b"HTTP/1.1 401 ")

    running(test)


@pytest.mark.parametrize("target", ["/predict", INVOCATIONS])
def test_a_full_queue_refuses_by_the_head_alone_what_the_endpoint_would_refuse(target: str) -> None:
    async def test() -> None:
        served = Served()
        served.fill()
        client, request = Talk(served.app), post(target, body())
        slow = await by_a_task(client, request.replace(b" HTTP", b"?a=b HTTP", 1))
        prompt = await at_once(client, request)
        assert prompt.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1\r\n" in prompt
        assert alike(prompt) == alike(slow)
        assert served.counted("flts_serve_refused_total", code=FULL) == 2
        assert served.counted("flts_serve_requests_total", method="POST", route=target, status="429") == 2
        lines: Any = served.logged
        assert [(line.event, line.status, line.route, line.received) for line in lines] == [
            ("request_served", 429, target, 0)
        ] * 2
        assert lines[1].request_id.encode() in prompt

        head = request[: -len(body())]
        client.send(head)
        assert (await client.answer()).startswith(b"HTTP/1.1 429 ")
        served.service.turns._limit = 1
        client.send(body() + post("/predict", body()))
        assert (await client.answer()).startswith(b"HTTP/1.1 200 "), "the body of a refused request is passed over"

    running(test)


def unread(served: Served) -> int:
    """How many requests were refused without being read."""
    return sum(event.count for event in served.logged if isinstance(event, events.RequestsRefused))


def remembered(served: Served) -> dict[bytes, tuple[int, str]]:
    """The heads that were refused."""
    assert isinstance(served.app, Direct)
    return served.app._refused


def test_a_head_that_was_refused_is_refused_again_without_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.web.observed.ALIKE_SECONDS", 0.0)

    async def test() -> None:
        served = Served()
        served.fill()
        client, other = Talk(served.app), Talk(served.app)
        first = await at_once(client, post("/predict", body()))
        again = [await at_once(sender, post("/predict", body())) for sender in (client, other, client)]
        assert {answer[9:12] for answer in again} == {b"429"}
        assert all(alike(answer) == alike(first) for answer in again)
        assert len({match for answer in again for match in IDS.findall(answer)}) == 3, "each has an id of its own"
        await asyncio.sleep(0.01)
        assert unread(served) == 3
        assert served.counted("flts_serve_refused_total", code=FULL) == 4
        assert served.counted("flts_serve_requests_total", method="POST", route="/predict", status="429") == 4
        served.service.turns._limit = 1
        assert (await at_once(client, post("/predict", body()))).startswith(b"HTTP/1.1 "), "room again"
        client.send(post("/predict", body()))
        assert (await client.answer()).startswith(b"HTTP/1.1 200 ")
        assert unread(served) == 3

    running(test)


@pytest.mark.parametrize(
    "parts",
    [
        [post("/predict", body())[:-1], post("/predict", body())[-1:]],
        [post("/predict", body()) + post("/predict", body())],
        [post("/predict", body(), "X-Other: 1")],
        [post("/predict", body()) + b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        [b"\r\n" + post("/predict", body())],
    ],
)
def test_only_a_whole_request_with_that_head_is_refused_unread(parts: list[bytes]) -> None:
    async def test() -> None:
        served = Served()
        served.fill()
        client = Talk(served.app)
        await at_once(client, post("/predict", body()))
        for part in parts:
            client.send(part)
        asked = b"".join(parts).count(b"HTTP/1.1\r\n")
        found = [(await client.answer())[9:12] for _ in range(asked)]
        assert found == [b"429", b"404"][:asked] if b"GET" in parts[0] else [b"429"] * asked
        assert unread(served) == 0

    running(test)


@pytest.mark.parametrize(
    "request_",
    [
        post("/predict", body(), "Connection: close"),
        post("/predict", body()).replace(b" HTTP/1.1", b" HTTP/1.0", 1),
        post("/predict", body()).replace(b" HTTP", b"?a=b HTTP", 1),
    ],
)
def test_what_is_not_refused_by_its_head_is_not_remembered(request_: bytes) -> None:
    async def test() -> None:
        served = Served()
        served.fill()
        for _ in range(2):
            client = Talk(served.app)
            client.send(request_)
            assert (await client.answer()).startswith(b"HTTP/1.1 429 ")
        assert not remembered(served)

    running(test)


def test_few_heads_are_remembered_and_only_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.web.direct.REMEMBERED", 2)

    async def test() -> None:
        served = Served()
        served.fill()
        client = Talk(served.app)
        for number in range(5):
            await at_once(client, post("/predict", body(), f"X-Request-Id: {number}"))
            assert len(remembered(served)) <= 2
        remembered(served).clear()
        await at_once(client, post("/predict", body(), f"X-Long: {'x' * LONGEST}"))
        assert not remembered(served)

    running(test)


def test_the_body_of_a_refused_request_is_received_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.web.connection.PASSED_OVER", 1000)

    async def test() -> None:
        served = Served()
        served.fill()
        client = Talk(served.app)
        head = post("/predict", b"").replace(b"Content-Length: 0", b"Content-Length: 5000")
        client.send(head)
        assert (await client.answer()).startswith(b"HTTP/1.1 429 ")
        client.send(b"x" * 1000)
        assert not client.transport.is_closing()
        client.send(b"x")
        assert client.transport.is_closing()

    running(test)


@pytest.mark.parametrize(
    ("header", "status"), [("Host: localhost", 400), ("Connection: close", 429), ("Expect: 100-continue", 429)]
)
def test_a_head_that_ends_its_connection_or_is_ambiguous_is_looked_at(header: str, status: int) -> None:
    async def test() -> None:
        served = Served()
        served.fill()
        client = Talk(served.app)
        client.send(post("/predict", body(), header))
        answer = await client.answer()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nconnection: close\r\n" in answer.lower()

    running(test)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def test() -> None:
        client = Talk(Served().app)
        client.send(post("/predict", body(horizon=1)) + post("/predict", body(horizon=2)) + post("/predict", body()))
        found = [json.loads((await client.answer()).partition(b"\r\n\r\n")[2]) for _ in range(3)]
        assert [len(document["forecasts"]) for document in found] == [1, 2, 3]

    running(test)


def test_what_expired_or_has_no_client_any_more_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.server.turns.RECENT", -1.0)

    async def test() -> None:
        served = Served()
        client = Talk(served.app)
        await by_a_task(client, post("/predict", body()))
        late = await at_once(client, post("/predict", body(), "X-Request-Timeout: 1e-9"))
        assert late.startswith(b"HTTP/1.1 504 ")
        client.send(post("/predict", body()))
        client.connection.connection_lost(None)
        while served.counted("flts_serve_requests_total", method="POST", route="/predict", status="499") != 1:
            await asyncio.sleep(0)
        assert client.transport.sent.empty()
        assert [line.event for line in served.logged].count("forecast_served") == 1

    running(test)


def test_a_request_in_work_is_answered_before_its_connection_ends() -> None:
    async def test() -> None:
        client = Talk(Served().app)
        client.send(post("/predict", body()))
        client.connection.shutdown()
        answer = await client.answer()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer

    running(test)


def test_an_answer_that_cannot_be_written_is_an_internal_error_and_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        served = Served()
        client, other = Talk(served.app), Talk(served.app)
        await by_a_task(client, post("/predict", body()))

        def breaks(answered: Any) -> bytes:
            if answered.answer.mean.shape[0] == 1:
                raise OverflowError
            return to_bytes(answered)

        monkeypatch.setattr("flts.server.predict.to_bytes", breaks)
        client.send(post("/predict", body(horizon=1)))
        other.send(post("/predict", body()))
        assert (await client.answer()).startswith(b"HTTP/1.1 500 ")
        assert (await other.answer()).startswith(b"HTTP/1.1 200 ")

    running(test)


def test_an_answer_that_somebody_cannot_be_told_of_is_an_internal_error_and_takes_no_other_with_it() -> None:
    async def test() -> None:
        served = Served()
        client, other = Talk(served.app), Talk(served.app)
        await by_a_task(client, post("/predict", body()))

        def breaks(answered: Any) -> None:
            if answered.answer.mean.shape[0] == 1:
                raise OverflowError

        served.service.watch(breaks)
        client.send(post("/predict", body(horizon=1)))
        other.send(post("/predict", body()))
        assert (await client.answer()).startswith(b"HTTP/1.1 500 ")
        assert (await other.answer()).startswith(b"HTTP/1.1 200 ")
        assert served.service.turns.state().in_flight == 0

    running(test)
