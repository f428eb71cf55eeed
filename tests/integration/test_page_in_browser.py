"""The page in a browser: no error, no barrier, and charts that can be seen in both themes."""

from __future__ import annotations

import io
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from tests.support.boards import crowd, judged, promote, served, variant
from tests.support.series import hourly, table
from tests.support.services import LONG
from tests.support.stored import without

from flts.contracts.ports import Store
from flts.web.running import listen, url

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
THEMES = ("light", "dark")
SIZES = {"phone": (360, 780), "desktop": (1280, 900)}
VISIBLE = 3.0
"""Least contrast of what a chart shows with its background (WCAG 2.2, 1.4.11)."""
ROWS = table(hourly(40)).write_csv()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with a board of ten, a failed candidate, two scopes, and a promotion by hand."""
    made, decision = judged(900, 320)
    store: Store = without(made)
    log = promote(store, variant(store, decision, "crowd", candidates=crowd(decision)), actor="flts run")
    promote(store, decision, log, "manual", "ada")
    promote(store, variant(store, decision, "north", scope="north"))
    with listen("127.0.0.1", 0) as listening:
        yield from _running(served(store), listening)


def _running(app: Any, listening: socket.socket) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield url(listening)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium of this system."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with driver.sync_playwright() as running:
        # as root, Chromium starts only without its sandbox; it opens pages of this test alone
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Seen:
    """A page in a browser, with everything that its console said and every address that it asked for."""

    def __init__(self, browser: Any, address: str, theme: str = "light", size: str = "desktop", **context: Any) -> None:
        width, height = SIZES[size]
        self._context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **context)
        self._context.set_default_timeout(1000 * LONG)
        self.page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = address

    def open(self, target: str = "/") -> Any:
        self.page.goto(self.address + target, wait_until="networkidle")
        return self.page

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()


TARGETS = ("/", "/decisions/global/1", "/decisions/global", "/promotions/global")


@pytest.mark.parametrize(
    ("theme", "size"),
    [
        ("light", "desktop"),
        ("dark", "phone"),
        pytest.param("light", "phone", marks=pytest.mark.long),
        pytest.param("dark", "desktop", marks=pytest.mark.long),
    ],
)
def test_no_page_has_a_barrier_an_error_or_anything_from_elsewhere(
    browser: Any, address: str, theme: str, size: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    with Seen(browser, address, theme, size, bypass_csp=True) as seen:  # axe is a script of the test
        for target in TARGETS:
            page = seen.open(target)
            page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            found = axe.run(page)
            assert found.violations_count == 0, f"{target}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0], target
    with Seen(browser, address, theme, size) as seen:
        for target in TARGETS:
            seen.open(target)
        assert seen.said == []
        assert [asked for asked in seen.asked if not asked.startswith(address)] == []


def test_axe_finds_a_barrier_where_there_is_one(browser: Any, address: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    with Seen(browser, address, bypass_csp=True) as seen:
        page = seen.open()
        page.evaluate("document.querySelector('label[for=rows]').remove(); document.documentElement.lang = ''")
        assert axe.run(page).violations_count >= 2


@pytest.mark.parametrize("theme", THEMES)
def test_what_a_chart_shows_can_be_seen(browser: Any, address: str, theme: str) -> None:
    with Seen(browser, address, theme) as seen:
        page = seen.open()
        _send(page)
        for chart in ("#chart .chart", ".result .chart"):
            inks = {name: _key(page, f"{chart} .{name}") for name in ("truth", "made", "within")}
            assert len(set(inks.values())) == 3
            _check_pixels(page.locator(f"{chart} .u-wrap").screenshot(), inks)


def test_a_chart_is_drawn_anew_when_the_theme_changes(browser: Any, address: str) -> None:
    with Seen(browser, address, "light") as seen:
        page = seen.open()
        light = _key(page, "#chart .made")
        page.emulate_media(color_scheme="dark")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        inks = {name: _key(page, f"#chart .{name}") for name in ("truth", "made", "within")}
        assert inks["made"] != light
        _check_pixels(page.locator("#chart .u-wrap").screenshot(), inks)


def _key(page: Any, selector: str) -> tuple[int, ...]:
    """The colour of a key beside a chart."""
    mark = "(key) => getComputedStyle(key, '::before').backgroundColor"
    colour = page.locator(selector).evaluate(mark)
    return tuple(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def _check_pixels(picture: bytes, inks: dict[str, tuple[int, ...]]) -> None:
    """Every ink is in the picture, and stands out from what most of the picture is."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    counted = {tuple(map(int, colour)): int(count) for colour, count in zip(colours, counts, strict=True)}
    paper = max(counted, key=lambda colour: counted[colour])
    assert paper not in inks.values()
    for name, ink in inks.items():
        drawn = sum(count for colour, count in counted.items() if _near(colour, ink))
        assert drawn >= 20, f"{name} {ink} is not in the picture"
        assert _contrast(ink, paper) >= VISIBLE, f"{name} {ink} on {paper}"


def _near(colour: tuple[int, ...], ink: tuple[int, ...]) -> bool:
    """Whether a pixel has an ink: the sides of a slanted line are mixed with what is behind it."""
    return all(abs(one - other) <= 12 for one, other in zip(colour, ink, strict=True))


def _contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: tuple[int, ...]) -> float:
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_contrast_is_that_of_the_standard() -> None:
    assert _contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert _contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def _send(page: Any) -> None:
    page.fill("#rows", ROWS)
    with page.expect_navigation(wait_until="networkidle"):
        page.get_by_role("button", name="Forecast", exact=True).click()


@pytest.mark.parametrize("theme", THEMES)
def test_signing_in_forecasting_and_signing_out(browser: Any, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    made, decision = judged(900, 320)
    store = without(made)
    promote(store, variant(store, decision, "alone"))
    app = served(store, "a-token")
    with (
        listen("127.0.0.1", 0) as listening,
        contextmanager(_running)(app, listening) as address,
        Seen(browser, address, theme, "phone", bypass_csp=True) as seen,
    ):
        page = seen.open("/promotions/global")
        assert axe.run(page).violations_count == 0
        for token, heading in (("wrong", "This server asks for a token"), ("a-token", "Promotions")):
            page.get_by_label("Token").fill(token)
            with page.expect_navigation(wait_until="networkidle"):
                page.get_by_role("button", name="Sign in").click()
            assert page.locator("h1").inner_text().startswith(heading)
        assert page.url == f"{address}/promotions/global"
        assert axe.run(page).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"][0]
        seen.open()
        _send(page)
        assert page.locator(".result h3").inner_text().startswith("ridge, promotion 1")
        with page.expect_navigation(wait_until="networkidle"):
            page.get_by_role("button", name="Sign out").click()
        assert page.locator("h1").inner_text() == "This server asks for a token"


def test_pasted_rows_are_forecast_and_saved_without_an_error(browser: Any, address: str) -> None:
    with Seen(browser, address) as seen:
        page = seen.open()
        _send(page)
        assert page.locator(".result h3").inner_text().startswith("ridge, promotion 2")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").click()
        saved = Path(download.value.path()).read_text().splitlines()
        assert saved[0] == "time,target,mean,lower,upper,utc_offset"
        assert len(saved) == 4
        assert seen.said == []


def test_a_dropped_file_is_what_is_sent(browser: Any, address: str) -> None:
    with Seen(browser, address) as seen:
        page = seen.open()
        page.fill("#rows", "older text")
        drop = """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "load.csv", {type: "text/csv"}));
            document.querySelector("textarea").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
        page.evaluate(drop, ROWS)
        assert page.input_value("#rows") == ""
        with page.expect_navigation(wait_until="networkidle"):
            page.get_by_role("button", name="Forecast", exact=True).click()
        assert page.locator(".result h3").inner_text().startswith("ridge")


def test_everything_but_the_chart_works_without_javascript(browser: Any, address: str) -> None:
    with Seen(browser, address, java_script_enabled=False) as seen:
        page = seen.open()
        assert page.locator(".plot").first.is_hidden()
        page.locator("#chart summary").click()
        assert page.locator("#chart tbody tr").last.is_visible()
        _send(page)
        assert page.locator(".result h3").inner_text().startswith("ridge")
        page.fill("#rows", "time,load\n1")
        with page.expect_navigation():
            page.get_by_role("button", name="Forecast", exact=True).click()
        assert "the pasted rows" in page.locator("#box-error").inner_text()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Any, address: str) -> None:
    with Seen(browser, address) as seen:
        page = seen.open()
        reached: list[Any] = []
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break  # after the last one, the browser itself is next
            at = page.evaluate(
                "() => { const at = document.activeElement, drawn = getComputedStyle(at);"
                " return [at.id || at.getAttribute('aria-label') || at.textContent.trim(), drawn.outlineStyle,"
                " parseFloat(drawn.outlineWidth)]; }"
            )
            reached.append(at)
        names = [name for name, *_ in reached]
        assert names[0] == "To the content"
        needed = {"Row of the chart", "The same numbers as a table", "Scoreboard", "rows", "file", "level", "Forecast"}
        assert needed - set(names) == set()
        assert [name for name, style, width in reached if style == "none" or width < 1] == []


def test_the_slider_reads_the_chart_row_by_row(browser: Any, address: str) -> None:
    with Seen(browser, address) as seen:
        page = seen.open()
        slider, reading = page.get_by_role("slider"), page.locator(".reading output")
        newest = reading.inner_text()
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert reading.inner_text() != newest
        assert slider.get_attribute("aria-valuetext") == reading.inner_text()
        cells = page.locator("#chart tbody tr").nth(-2).locator("th, td").all_text_contents()
        assert all(cell.strip() in reading.inner_text() for cell in cells)
        page.keyboard.press("Home")
        assert page.get_by_role("button", name="all 300").get_attribute("aria-pressed") == "true"
