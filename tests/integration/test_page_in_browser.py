"""The page of a report in a real browser: drawn without a complaint, reachable by keyboard, legible in both colour schemes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from mlbench.report.inputs import Files, read_files
from mlbench.report.page.page import write_page
from mlbench.studies.memory_record import record_memory
from support.browser import DESK, NEEDS_BROWSER, SCHEMES, open_page, opener, violations
from support.report_files import write_every_kind

pytest.importorskip("jinja2", reason="needs the extra 'report'")
pytest.importorskip("vl_convert", reason="needs the extra 'report'")
IN_BOTH_SCHEMES = pytest.mark.parametrize("opened", ["light", "dark"], indirect=True)
pytestmark = NEEDS_BROWSER
DRAWN = "document.documentElement.dataset.drawn"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of files of every kind, one of them damaged; the name of one case is markup."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "bad.json").write_text("{")
    found: Files = read_files([folder / "bad.json", *write_every_kind(folder)])
    found.memory = record_memory(found.results)
    return write_page(found, folder / "page.html", "mlbench report *.json").as_uri()


@pytest.fixture(scope="module")
def pages(browser: Any, address: str) -> Iterator[Callable[[str], Any]]:
    """The page in each colour scheme, drawn once."""
    yield from opener(browser, address, DRAWN)


@pytest.fixture(params=SCHEMES)
def opened(request: pytest.FixtureRequest, pages: Callable[[str], Any]) -> Iterator[Any]:
    """The page of all tests in a colour scheme, which is put back as it was."""
    page = pages(request.param)
    yield page
    page.emulate_media(media="screen")
    if page.viewport_size != DESK:
        page.set_viewport_size(DESK)
        page.wait_for_timeout(300)  # charts take the new width
    page.fill("#filter", "")
    page.evaluate("history.replaceState(null, '', location.pathname); document.activeElement.blur(); scrollTo(0, 0)")
    if page.get_attribute("html", "data-theme") != request.param:
        page.click("#theme")


@pytest.fixture(params=SCHEMES)
def fresh(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """A page of the test's own, for what cannot be put back."""
    page = open_page(browser, address, request.param, DRAWN)
    yield page
    page.context.close()


@IN_BOTH_SCHEMES
def test_nothing_is_complained_of(opened: Any) -> None:
    """No error, no warning, and nothing asked of the network."""
    assert opened.complaints == []


def test_every_chart_is_drawn(opened: Any) -> None:
    """Each place has its picture, and each picture a mark for every row of its data, or a path for every line."""
    charts = opened.evaluate("[...document.querySelectorAll('[data-chart]')].map(e => [e.dataset.chart, e.querySelectorAll('svg').length])")
    names = {name for name, _ in charts}
    assert names >= {
        "speedup", "memory", "floor-ratio", "rounds-b8-h64", "ladder-b8-h64", "roofline", "peers", "rounds-peers-64-64-10-b8",
        "beside-time", "beside-memory", "beside-floor-ratio", "history", "history-speedup", "verdicts", "verdicts-2", "arena-b8-h1024",
    }  # fmt: skip
    assert {pictures for _, pictures in charts} == {1}
    specs = opened.evaluate("JSON.parse(document.getElementById('specs').textContent)")
    assert names == set(specs)
    for name, spec in specs.items():
        for number, layer in enumerate(spec["layer"]):
            suffix = "pathgroup" if kind_of(layer) in {"line", "area"} else "marks"
            group = f"[data-chart='{name}'] [class*=' layer_{number}_'][class$='{suffix}']"
            drawn = opened.evaluate(f"document.querySelector({json.dumps(group)}).childElementCount")
            assert (name, number, drawn) == (name, number, marks_of(spec, layer))


def kind_of(layer: dict[str, Any]) -> str:
    """Return the kind of a layer's marks."""
    mark = layer["mark"]
    return str(mark if isinstance(mark, str) else mark["type"])


def marks_of(spec: dict[str, Any], layer: dict[str, Any]) -> int:
    """Return how many marks a layer must have: one for each row, or one for each series where it joins or sums up its rows."""
    rows = layer.get("data", spec["data"])["values"]
    encoding = layer.get("encoding", {})
    if kind_of(layer) in {"line", "area"} or "aggregate" in encoding.get("x", {}):
        return len({row[encoding.get("color", encoding.get("detail"))["field"]] for row in rows})
    return len(rows)


def test_a_chart_that_cannot_be_drawn_leaves_a_gap(browser: Any, address: str, tmp_path: Path) -> None:
    """It says so in its place; the others are drawn."""
    page = Path(url2pathname(urlsplit(address).path)).read_text(encoding="utf-8")
    broken = tmp_path / "page.html"
    broken.write_text(page.replace('"mark":{"type":"tick"', '"mark":{"type":"no mark at all"', 1), encoding="utf-8")
    opened = open_page(browser, broken.as_uri(), "light", DRAWN)
    texts = opened.evaluate("[...document.querySelectorAll('[data-chart]')].filter(e => !e.querySelector('svg')).map(e => e.textContent)")
    assert [text.partition("(")[0] for text in texts] == ["A gap: this chart could not be drawn "]
    opened.context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_text_of_a_chart_is_cut(pages: Callable[[str], Any], browser: Any, address: str, scheme: str, width: int) -> None:
    """On a desk and on a phone, every label, title and legend lies within its picture, and every picture within its place."""
    drawn = pages(scheme) if width == DESK["width"] else open_page(browser, address, scheme, DRAWN, width)
    outside = drawn.evaluate("""() => [...document.querySelectorAll("[data-chart]")].flatMap(place => {
        const frame = place.querySelector("svg").getBoundingClientRect();
        const cut = [...place.querySelectorAll("svg text")].filter(text => text.textContent && text.getAttribute("opacity") !== "0")
            .filter(text => { const { left, right, top, bottom } = text.getBoundingClientRect();
                return left < frame.left - 1 || right > frame.right + 1 || top < frame.top - 1 || bottom > frame.bottom + 1; })
            .map(text => [place.dataset.chart, text.textContent]);
        return frame.right > place.getBoundingClientRect().right + 1 ? [...cut, [place.dataset.chart, "the picture"]] : cut;
    })""")
    assert outside == []


def test_a_cell_opens_its_case(opened: Any) -> None:
    """A click on a cell of the heat map goes to the case's section of the page."""
    opened.locator("[data-chart='speedup'] [role=link][aria-label^='b8-h256:']").click()
    opened.wait_for_url("**/page.html#case-b8-h256", timeout=5000)


def test_every_cell_is_a_link_for_the_keyboard(opened: Any) -> None:
    """Tab goes from cell to cell, each of which tells its case and value; the one in focus is marked, and Enter opens its case."""
    cells = opened.locator("[data-chart='speedup'] [role=link]")
    names = cells.evaluate_all("cells => cells.map(cell => cell.getAttribute('aria-label'))")
    assert sorted(names) == [f"b{batch}-h{size}: Speed-up 2.50" for batch in (1, 8) for size in (1024, 256, 64)]
    cells.first.focus()
    reached = [opened.evaluate("document.activeElement.getAttribute('aria-label')")]
    for _ in names[1:]:
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert reached == names
    assert opened.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    opened.fill("#filter", "nothing is called so")  # a case that the filter hides is shown again
    opened.locator("[data-chart='speedup'] [aria-label^='b8-h256']").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/page.html#case-b8-h256", timeout=5000)
    opened.locator("#case-b8-h256").wait_for(state="visible", timeout=5000)


def test_the_filter_hides_cases(opened: Any) -> None:
    """Cases whose name does not have the text are hidden, and how many are left is said."""
    opened.fill("#filter", "h256")
    assert opened.locator("#case-b8-h256").is_visible()
    assert not opened.locator("#case-b8-h64").is_visible()
    assert opened.locator("#shown").inner_text() == "2 of 7 cases"


def test_the_keyboard_reaches_everything(fresh: Any) -> None:
    """The first stop skips to the content; the button, the filter and the numbers of a chart can be reached and opened."""
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.className") == "skip"
    stops = "a[href], button, input, summary, pre, .chart [role=link]"
    fresh.evaluate(f"document.querySelectorAll('{stops}').forEach(stop => stop.addEventListener('focus', () => stop.dataset.reached = 1))")
    for _ in range(fresh.locator(stops).count() + 60):  # what scrolls is a stop too
        fresh.keyboard.press("Tab")
    is_closed = "stop.closest('details:not([open])') && !stop.matches('summary')"
    missed = fresh.evaluate(
        f"[...document.querySelectorAll('{stops}')].slice(1).filter(stop => !stop.dataset.reached && !({is_closed})).map(s => s.outerHTML)"
    )
    assert missed == []  # but for the first, which was left before anybody listened
    summary = fresh.locator("summary").first
    summary.focus()
    fresh.keyboard.press("Enter")
    assert fresh.locator("details").first.get_attribute("open") is not None


def colours(page: Any) -> list[list[int]]:
    """Return red, green and blue of the page, of its text, and of the text of every axis and legend, as they are painted."""
    found = page.evaluate("""() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
        ...[...document.querySelectorAll("[data-chart] [class*=role-axis] text, [data-chart] [class*=role-legend] text")]
        .map(text => getComputedStyle(text).fill)]""")
    return [[int(part) for part in each.removeprefix("rgb(").removesuffix(")").split(", ")] for each in found]


def is_light(page: Any) -> bool:
    """Whether all text is dark on white; False where all of it is light on a dark page."""
    (*paper,), *texts = colours(page)
    answers = {min(paper) > 200 and max(text) < 110 for text in texts} | {not (max(paper) < 60 and min(text) > 150) for text in texts}
    assert len(answers) == 1
    return answers.pop()


@IN_BOTH_SCHEMES
def test_the_button_changes_the_colours(opened: Any) -> None:
    """Whatever the system prefers, the other scheme is one press away, charts included."""
    before = opened.evaluate("document.documentElement.dataset.theme")
    assert is_light(opened) == (before == "light")
    opened.click("#theme")
    assert is_light(opened) == (before == "dark")
    assert opened.get_attribute("#theme", "aria-pressed") == str(before == "light").lower()


@IN_BOTH_SCHEMES
def test_shapes_of_a_legend_are_seen(opened: Any) -> None:
    """What tells shapes apart has the colour of the text, not black on a dark page."""
    fills = opened.evaluate("""() => [...document.querySelectorAll("[data-chart='verdicts'] [class*=role-legend] path")]
        .map(shape => getComputedStyle(shape).fill)""")
    assert opened.evaluate("getComputedStyle(document.body).color") in fills
    assert "rgb(0, 0, 0)" not in fills


@IN_BOTH_SCHEMES
def test_axe_finds_no_serious_fault(opened: Any) -> None:
    """axe-core's rules of accessibility: nothing serious, nothing critical."""
    found = violations(opened)
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in {"serious", "critical"}] == []


@IN_BOTH_SCHEMES
def test_paper_is_white(opened: Any) -> None:
    """What is printed is dark on white, whatever the scheme was on the screen, and no chart is wider than the paper."""
    opened.emulate_media(media="print")
    opened.set_viewport_size({"width": 700, "height": 1000})  # as wide as A4 between its margins
    assert is_light(opened)
    wide = "[...document.querySelectorAll('[data-chart] svg')].filter(each => each.getBoundingClientRect().right > 700).length"
    assert opened.evaluate(wide) == 0


def test_a_phone_shows_it_without_scrolling_sideways(opened: Any) -> None:
    """At 390 pixels nothing is wider than the screen."""
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_timeout(300)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def test_markup_in_a_name_does_nothing(opened: Any) -> None:
    """A case whose name is an element with a handler is text."""
    assert opened.title().startswith("mlbench report")
    assert opened.locator("main img").count() == 0
    assert opened.get_by_role("heading", name="Case b1<img").count() == 1
