"""The page for people: what it shows, that it shows nothing as markup, and what it loads."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import polars as pl
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from tests.support.asgi import Answer, ask
from tests.support.boards import ODD, crowd, judged, promote, ran, served, variant
from tests.support.markup import Element, parse
from tests.support.series import hourly, table
from tests.support.stored import without

from flts.backends.store import memory_store
from flts.contracts import layout, run_index
from flts.contracts.canonical import digest
from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import Store
from flts.contracts.records.decision import DecisionRecord, Verdict
from flts.server.models import ServedModels
from flts.server.page import rendering, routes
from flts.server.page.rendering import POLICY, assets, page
from flts.server.service import BODY_BYTES

LARGEST = 150_000
"""Bytes of the first page with everything it loads."""
PAGES = ("/", "/promotions/global", "/decisions/global", "/decisions/global/1")
Made = tuple[Store, DecisionRecord]


@pytest.fixture(scope="module")
def made() -> Made:
    """A ridge whose preview is as long as previews are."""
    return judged(900, 320)


@pytest.fixture
def store(made: Made) -> Store:
    """Promoted among ten."""
    store = without(made[0])
    promote(store, variant(store, made[1], "crowd", candidates=crowd(made[1])))
    return store


@pytest.fixture
def app(store: Store) -> FastAPI:
    return served(store)


def shown(app: FastAPI, target: str = "/", status: int = 200) -> Element:
    answer = ask(app, "GET", target)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return parse(answer.body)


def send(
    app: FastAPI, fields: Mapping[str, str], file: tuple[str, bytes] | None = None, target: str = "/forecast"
) -> Answer:
    """Send a form as a browser does."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if file is not None:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{file[0]}"\r\n'
        parts.append(f"{head}Content-Type: text/csv\r\n\r\n".encode() + file[1] + b"\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return ask(app, "POST", "/forecast", headers, b"".join([*parts, b"--b--\r\n"]))


def rows(count: int = 40) -> str:
    return table(hourly(count)).write_csv()


def parquet(count: int) -> bytes:
    """A file of a few kilobytes that decodes to so many rows."""
    buffer = io.BytesIO()
    pl.DataFrame({name: pl.repeat(1.0, count, eager=True) for name in "abcdefghij"}).write_parquet(buffer)
    return buffer.getvalue()


# --- what is loaded


@pytest.mark.parametrize("target", PAGES)
def test_a_page_allows_and_names_only_what_this_server_has(app: FastAPI, target: str) -> None:
    answer = ask(app, "GET", target)
    assert answer.headers["content-security-policy"] == POLICY
    assert POLICY == ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'")
    page = parse(answer.body)
    assert not page.all("style")
    for element in page.all():
        assert not [name for name in element.attributes if name == "style" or name.startswith("on")], element
        assert element.tag != "script" or not element.text()
        for name in ("src", "href", "action"):
            assert re.match(r"[/?#](?!/)", element.attributes.get(name, "/")), element.attributes


def test_the_first_page_of_a_board_of_ten_is_small(app: FastAPI) -> None:
    answer = ask(app, "GET", "/")
    page = parse(answer.body)
    assert len(page.one("table", class_="board").all("tr")) == 1 + 10 + 2
    assert len(page.one("table", class_="numbers").all("tr")) > 300
    loaded = {e.attributes[n] for e in page.all() for n in ("src", "href") if "/static/" in e.attributes.get(n, "")}
    sizes = [len(answer.body), *(len(ask(app, "GET", target).body) for target in loaded)]
    assert len(sizes) == 6
    assert sum(sizes) <= LARGEST


def test_a_file_of_the_page_is_kept_for_ever_under_the_name_of_its_bytes(app: FastAPI) -> None:
    for name, asset in assets().items():
        answer = ask(app, "GET", f"/static/{name}?v={asset.version}")
        assert (answer.status, answer.body) == (200, asset.data)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" not in ask(app, "GET", "/static/app.js?v=older").headers["cache-control"]
    assert ask(app, "GET", "/static/no.js").status == HTTPStatus.NOT_FOUND
    assert ask(app, "GET", "/static/..%2frouting.py").status == HTTPStatus.NOT_FOUND


def test_the_chart_library_comes_with_its_licence() -> None:
    assert b"MIT License" in assets()["uPlot-LICENSE.txt"].data
    assert b"Copyright" in assets()["uPlot-LICENSE.txt"].data


# --- what is shown


def test_the_first_page_answers_what_people_ask(app: FastAPI) -> None:
    page = shown(app)
    assert page.one("h1").text() == "ridge"
    questions = [section.one("h2").text() for section in page.one(class_="questions").all("section")]
    assert questions == ["Better than repeating the past?", "Since when does it serve?", "Is it getting worse?"]


def test_a_failed_candidate_is_on_the_board_with_its_reason(app: FastAPI) -> None:
    rows = page_rows(shown(app))
    assert rows["broken"].attributes["class"] == "absent"
    assert rows["broken"].one("td", class_="reason").text() == "TrainingFailed: a reason"
    assert "failed" in rows["broken"].one("th").text()
    assert "not applicable" in rows["unfit"].one("th").text()
    assert rows["ridge"].attributes["class"] == "first"
    assert "champion" in rows["ridge"].one("th").text()
    assert rows["naive"].attributes["class"] == "baseline"


def test_a_candidate_outside_the_limits_says_so(store: Store, made: Made) -> None:
    first, *others = crowd(made[1])
    limit = {"max_bundle_mb": Verdict(passed=False, reason="too large a bundle", numbers={})}
    other = others[0].model_copy(update={"limits": limit})
    decision = variant(store, made[1], "limited", candidates=[first, other, *others[1:]])
    page = shown(served(store), f"/decisions/global/{decision.decision_id}")
    assert page_rows(page)[other.model].one("small").text() == "not eligible: too large a bundle"


def page_rows(page: Element) -> dict[str, Element]:
    """The rows of the scoreboard by model."""
    return {row.one("th").text().split()[0]: row for row in page.one("table", class_="board").all("tr")[1:]}


def test_the_table_beside_the_chart_has_the_numbers_of_the_preview(app: FastAPI, made: Made) -> None:
    numbers = shown(app).one("table", class_="numbers").all("tr")[1:]
    last = [cell.text() for cell in numbers[-1].all("td")]
    assert all(re.fullmatch(r"-?\d+\.\d", cell) for cell in last), last
    assert len({row.attributes["data-t"] for row in numbers}) == len(numbers)


@pytest.mark.parametrize("target", [*PAGES, f"/?target={ODD}", "/?target=load"])
def test_no_name_that_others_chose_becomes_markup(made: Made, target: str) -> None:
    store = without(made[0])
    first, second, *others = crowd(made[1], reason=f"TrainingFailed: {ODD}")
    odd = [first, second.model_copy(update={"model": ODD}), *others]
    decision = variant(store, made[1], "odd", candidates=odd, reasons=[ODD], sure=ODD)
    promote(store, decision, actor=ODD)
    page = shown(served(store), target.replace("<", "%3C").replace('"', "%22").replace(" ", "%20"))
    assert not page.all("b")
    if target.startswith(("/?", "/decisions/global/")) or target == "/":
        assert ODD in " ".join(row.one("th").text() for row in page.one("table", class_="board").all("tr")[1:])
    assert ODD in page.text() or target == "/decisions/global"


def test_promotions_say_who_and_why_newest_first(made: Made) -> None:
    store = without(made[0])
    log = promote(store, made[1], actor="flts run")
    log = promote(store, variant(store, made[1]), log, "manual", "ada")
    promote(store, made[1], log, "rollback", "bob")
    app = served(store)
    for target in ("/", "/promotions/global"):
        rows = shown(app, target).one("table", class_="promotions").all("tr")[1:]
        told = [[cell.text() for cell in row.all("td")][-3:] for row in rows]
        assert told == [
            ["rollback to 1", "bob", "restores the champion of promotion 1"],
            ["by hand", "ada", "a person chose it, whatever the gates decided"],
            ["judge", "flts run", made[1].gates["champion"].reason],
        ]
        assert [row.one("a").attributes["href"] for row in rows] == [f"/decisions/global/{n}" for n in (3, 2, 1)]
        assert "serves" in rows[0].one("th").text()


def test_a_long_log_is_shown_in_parts(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "NEWEST", 2)
    monkeypatch.setattr(routes, "PAGE", 3)
    store = without(made[0])
    log = promote(store, made[1])
    for _ in range(4):
        log = promote(store, made[1], log, "manual")
    app = served(store)

    def numbers(target: str) -> list[str]:
        return [row.one("a").text() for row in shown(app, target).one("table", class_="promotions").all("tr")[1:]]

    assert numbers("/") == ["5", "4"]
    assert numbers("/promotions/global") == ["5", "4", "3"]
    assert numbers("/promotions/global?before=3") == ["2", "1"]
    assert shown(app).one("a", href="/promotions/global").text() == "All 5 promotions"


def test_a_decision_is_found_by_number_and_by_id_promoted_or_not(app: FastAPI, store: Store, made: Made) -> None:
    kept = variant(store, made[1], "kept", outcome="keep")
    assert "passed every gate" in shown(app, "/decisions/global/1").text()
    page = shown(app, f"/decisions/global/{kept.decision_id}")
    assert "Nothing was promoted" in page.text()
    assert kept.decision_id in page.text()
    for unknown in ("2", "0", "x", "f" * 64, ODD.replace("/", "").replace("<", "%3C").replace(" ", "%20")):
        assert "There is no decision" in shown(app, f"/decisions/global/{unknown}", 404).text()


def told(app: FastAPI, target: str = "/decisions/global") -> list[list[str]]:
    """The rows of a page of decisions."""
    rows = shown(app, target).one("table", class_="promotions").all("tr")[1:]
    return [[cell.text() for cell in row.all()] for row in rows]


def test_decisions_that_promoted_nothing_are_listed_newest_first_with_the_reason(store: Store, made: Made) -> None:
    run_index.completed(store)
    gates = {"champion": Verdict(passed=False, reason="the champion (ridge) is not beaten", numbers={})}
    kept = variant(store, made[1], "kept", outcome="keep", gates=gates)
    lost = variant(store, made[1], "lost", outcome="none", winner=None, gates={}, reasons=[ODD])
    damaged = made[1].model_copy(update={"decision_id": digest("damaged"), "outcome": "keep"})
    store.create(layout.decision("global", damaged.decision_id), b"{}")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for number, decision in enumerate((kept, made[1], lost, damaged, kept), 1):
        ran(store, decision, began + number * timedelta(hours=1), number)
    ran(store, kept.model_copy(update={"scope": "north"}), began, 6)
    ran(store, lost, began + timedelta(hours=9), 7)
    store.erase(layout.run_part(lost.config_hash, 7, "judge"))  # it waits for its judgement
    app = served(store)
    rows = told(app)
    assert [row[1] for row in rows] == [kept.decision_id[:12], lost.decision_id[:12]], "kept was made again, and last"
    assert "the champion (ridge) is not beaten" in rows[0]
    assert "1 Jan 2026, 05:00 UTC" in rows[0]
    assert [rows[1][-1], "none" in rows[1]] == [ODD, True]
    page = shown(app, "/decisions/global")
    assert page.all("a", href=f"/decisions/global/{lost.decision_id}")
    assert "earlier flts" not in page.text()
    assert not page.all("p", class_="more")


def test_decisions_are_shown_in_pages_of_runs(store: Store, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAGE", 3)
    run_index.completed(store)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    kept = [variant(store, made[1], f"kept {number}", outcome="keep") for number in range(7)]
    for number, decision in enumerate([*kept, made[1]], 1):
        ran(store, decision, began + number * timedelta(days=9), number)
    app, target, pages = served(store), "/decisions/global", []
    while target:
        pages.append([row[1] for row in told(app, target)])
        older = shown(app, target).all("p", class_="more")
        target = f"/decisions/global{older[0].one('a').attributes['href']}" if older else ""
    newest = [decision.decision_id[:12] for decision in reversed(kept)]
    assert pages == [newest[:2], newest[2:5], newest[5:]], "the newest run of the first page promoted its winner"
    for odd in ("x", ODD.replace("/", "").replace("<", "%3C").replace(" ", "%20"), "0" * 300):
        assert [row[1] for row in told(app, f"/decisions/global?before={odd}")] == newest[:2]


def test_runs_of_an_earlier_flts_are_said_to_be_missing(store: Store) -> None:
    page = shown(served(store), "/decisions/global").text()
    assert "flts runs index" in page
    assert "No run of these 0" in page


def test_every_scope_has_its_page(made: Made) -> None:
    store = without(made[0])
    promote(store, made[1])
    promote(store, variant(store, made[1], "north", scope="north"))
    app = served(store)
    page = shown(app, "/?scope=north")
    links = {link.text(): link for link in page.one("nav", aria_label="Scopes").all("a")}
    assert [*links] == ["global", "north"]
    assert "aria-current" in links["north"].attributes
    assert shown(app).one("form").attributes["action"].startswith("/forecast?scope=global")
    assert "south" in shown(app, "/?scope=south", 404).text()


def test_looking_at_a_page_loads_no_model_that_was_put_out_of_memory(made: Made) -> None:
    store = without(made[0])
    promote(store, made[1])
    promote(store, variant(store, made[1], "north", scope="north"))
    app = served(store, room=1)
    models: ServedModels = app.state.service.models
    for name in ("global", "north"):  # each is loaded once, and leaves for the other
        asyncio.run(models.find(name))
    assert [*models.served] == ["north"]
    page = shown(app, "/?scope=global")
    assert page.one("h1").text() == "ridge"
    assert "at least 12 rows" in page.one(id="needs").text()
    assert shown(app, "/decisions/global/1").one("table", class_="board")
    assert [*models.served] == ["north"]
    assert [link.text() for link in page.one("nav", aria_label="Scopes").all("a")] == ["global", "north"]


# --- what cannot be shown


def test_a_server_without_a_model_says_how_to_get_one() -> None:
    assert "flts run" in shown(served(memory_store())).text()
    app = served(memory_store())
    app.state.service.models.polled_at = 0.0
    answer = ask(app, "GET", "/")
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "No model is loaded yet" in parse(answer.body).text()


def test_a_lost_preview_leaves_the_rest_of_the_page(made: Made) -> None:
    store = without(made[0], layout.preview("global", made[1].decision_id))
    promote(store, made[1])
    page = shown(served(store))
    assert not page.all("table", class_="numbers")
    assert "The stored forecasts of this decision cannot be read." in page.text()
    assert page.one("table", class_="board")


def test_a_lost_decision_leaves_the_model_and_the_box(made: Made) -> None:
    whole = without(made[0])
    promote(whole, made[1])
    store = without(whole, layout.decision("global", made[1].decision_id))
    app = served(store)
    page = shown(app)
    assert page.one("h1").text() == "ridge"
    assert "cannot be read" in page.text()
    assert page.one("form")
    assert "memory" not in page.text()
    assert shown(app, "/decisions/global/1", 503)


class Away:
    """A store that does not answer once it is told to."""

    def __init__(self, store: Store) -> None:
        self._store, self.away, self.url = store, False, "memory:///secret-place"

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            if self.away:
                raise BackendUnavailable("https://secret-place does not answer", code="store-unavailable")
            return getattr(self._store, name)(*arguments)

        return call


def test_a_store_that_is_away_is_said_without_its_address(store: Store) -> None:
    away = Away(store)
    app = served(away)
    away.away = True
    answer = ask(app, "GET", "/")
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "retry-after" in answer.headers
    assert "secret-place" not in answer.body.decode()


def test_a_stale_model_is_said_to_be_stale(store: Store) -> None:
    app = served(store)
    models: ServedModels = app.state.service.models
    models._served = {"global": replace(models.served["global"], stale_since=time.time() - 60, reason="at /secret")}
    page = shown(app)
    assert "A newer promotion cannot be served since" in page.one(role="status").text()
    assert "/secret" not in page.text()


def test_with_a_token_the_page_is_for_those_who_have_it(store: Store) -> None:
    app = served(store, token="a-token")  # noqa: S106
    for target in PAGES:
        page = shown(app, target, 401)
        assert "token" in page.one("h1").text()
        assert not page.all("table")
    assert ask(app, "GET", "/", {"Authorization": "Bearer a-token"}).status == HTTPStatus.OK
    assert ask(app, "GET", "/static/style.css").status == HTTPStatus.OK
    assert ask(served(store), "GET", "/", {"Host": "elsewhere.example"}).status == HTTPStatus.MISDIRECTED_REQUEST


# --- the box


def test_pasted_rows_are_forecast_by_the_service(app: FastAPI) -> None:
    answer = send(app, {"rows": rows(), "level": "0.9"})
    assert answer.status == HTTPStatus.OK
    result = parse(answer.body).one(class_="result")
    assert result.one("h3").text().startswith("ridge, promotion 1: the next 3 steps (3 hours), in the time of UTC")
    cells = [row.all("td") for row in result.one("table").all("tr")[1:]]
    assert sum(bool(row[1].text()) for row in cells) == 3
    assert sum(bool(row[0].text()) for row in cells) == 40
    assert "90 % interval" in result.text()
    history = table(hourly(40)).to_dict(as_series=False)
    history["time"] = [f"{at.isoformat()}Z" for at in history["time"]]
    asked = {"history": history, "level": 0.9}
    predicted = ask(app, "POST", "/predict", {"Content-Type": "application/json"}, json.dumps(asked).encode()).json()
    made = [float(row[1].text()) for row in cells if row[1].text()]
    assert made == pytest.approx([row["mean"] for row in predicted["forecasts"]], abs=0.06)


def test_a_forecast_of_the_box_is_an_answer_like_any_other(app: FastAPI) -> None:
    answers: list[Any] = []
    app.state.service.watch(answers.append)
    sent = send(app, {"rows": rows()})
    assert [answer.served.scope for answer in answers] == ["global"]
    assert sent.headers["x-request-id"] == answers[0].request_id


def test_a_full_queue_is_said_at_the_box(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.state.service.turns, "_limit", 0)
    answer = send(app, {"rows": rows()})
    assert answer.status == HTTPStatus.TOO_MANY_REQUESTS
    assert "wait" in parse(answer.body).one(id="box-error").text()


def test_the_download_has_the_whole_numbers(app: FastAPI) -> None:
    link = parse(send(app, {"rows": rows()}).body).one("a", download="global-forecast.csv")
    kind, _, data = link.attributes["href"].partition(",")
    assert kind == "data:text/csv;base64"
    lines = base64.b64decode(data).decode().splitlines()
    assert lines[0] == "time,target,mean,lower,upper,utc_offset"
    assert len(lines) == 4
    assert [line.endswith(",+00:00") for line in lines[1:]] == [True] * 3


def test_a_file_is_read_like_pasted_rows(app: FastAPI) -> None:
    pasted = parse(send(app, {"rows": rows()}).body).one(class_="result")
    chosen = parse(send(app, {"rows": ""}, ("load.csv", rows().encode())).body).one(class_="result")
    assert pasted.text() == chosen.text()


@pytest.mark.parametrize(
    ("fields", "file", "status", "said"),
    [
        ({}, None, 422, "nothing was sent"),
        ({"rows": "  \n"}, None, 422, "nothing was sent"),
        ({"rows": "time,load\n1"}, None, 422, "the pasted rows"),
        ({"rows": rows(5)}, None, 422, "has 5 rows, the model needs at least"),
        ({"rows": rows().replace("load", "load_")}, None, 422, "load"),
        ({"rows": rows(), "level": "0.7"}, None, 422, "level 0.7 is not available"),
        ({"rows": rows(), "level": "much"}, None, 422, "'much' is not a level"),
        ({}, (f"../{'x' * 20}.csv", b"PK\x03\x04"), 422, "xxxx.csv"),
        ({"rows": "a\n" * (BODY_BYTES // 2)}, None, 413, "4,194,304"),
        ({"rows": "time,load\n" + "2026-01-01,1\n" * 100_001}, None, 413, "at most 100,000 are read"),
        ({}, ("load.csv", gzip.compress(b"time,load\n" * BODY_BYTES)), 413, "decodes to more than the 4,194,304 bytes"),
        ({}, ("load.parquet", parquet(BODY_BYTES)), 413, "decodes to more than the 4,194,304 bytes"),
    ],
)
def test_what_cannot_be_forecast_is_said_at_the_box(
    app: FastAPI, fields: dict[str, str], file: tuple[str, bytes] | None, status: int, said: str
) -> None:
    answer = send(app, fields, file)
    assert answer.status == status
    page = parse(answer.body)
    error = page.one(id="box-error")
    assert said in error.text()
    assert ".." not in error.text()
    assert page.one("textarea").attributes["aria-invalid"] == "true"
    assert "box-error" in page.one("textarea").attributes["aria-describedby"]
    assert not page.all(class_="result")


def test_a_body_that_is_no_form_is_refused_at_the_box(app: FastAPI) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"--b\r\nnothing", b"no form at all"):
        answer = ask(app, "POST", "/forecast", headers, body)
        assert answer.status in {400, 422}
        assert parse(answer.body).one(id="box-error").text()


def test_what_was_pasted_is_shown_again_as_text(app: FastAPI) -> None:
    page = parse(send(app, {"rows": f"{ODD}</textarea>\n1"}).body)
    assert page.one("textarea").text() == f"{ODD}</textarea> 1"
    assert not page.all("b")


def test_the_form_says_what_a_history_must_hold(app: FastAPI) -> None:
    needs = shown(app).one(id="needs")
    assert "at least 12 rows, one every hour" in needs.text()
    assert [code.text() for code in needs.all("code")] == ["time", "load", "wind"]
    levels = [option.attributes["value"] for option in shown(app).one("select").all("option")]
    assert levels == ["0.5", "0.8", "0.9", "0.95"]


def test_the_page_is_made_once_a_minute_at_most(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    now = 1_800_000_000.0

    def rendered(name: str, *values: Any, **named: Any) -> Response:
        made.append(name)
        return page(name, *values, **named)

    monkeypatch.setattr(rendering, "page", rendered)
    monkeypatch.setattr(time, "time", lambda: now)
    assert ask(app, "GET", "/").body == ask(app, "GET", "/").body
    assert made == ["home.html"]
    now += 60
    ask(app, "GET", "/")
    assert made == ["home.html"] * 2


def test_a_store_that_hangs_stops_the_page_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "SECONDS", 0.05)
    app, gate = served(store), threading.Event()
    monkeypatch.setattr(routes, "home_view", lambda *_: gate.wait())
    try:
        answer = ask(app, "GET", "/")
    finally:
        gate.set()
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "did not answer" in parse(answer.body).text()
