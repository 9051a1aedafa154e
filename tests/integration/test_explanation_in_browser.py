"""The page about what the compiler does in a real browser: every step drawn, reached by slider, keys and address, legible, accessible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlbench.report.page.page import write_explanation
from support.browser import DESK, NEEDS_BROWSER, SCHEMES, open_page, opener, violations
from support.explanations import evil_explanation, explanation, run_of
from support.records import made_up

pytest.importorskip("jinja2", reason="needs the extra 'report'")
pytest.importorskip("vl_convert", reason="needs the extra 'report'")
IN_BOTH_SCHEMES = pytest.mark.parametrize("opened", ["light", "dark"], indirect=True)
pytestmark = NEEDS_BROWSER
READY = "document.documentElement.dataset.drawn && document.documentElement.dataset.explained && !document.querySelector('[data-drawing]')"
MAP = "#steps .map"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of a network that was measured."""
    measured = dataclasses.replace(explanation(), ablation=made_up(explanation().cell))
    return write_explanation(run_of(measured), tmp_path_factory.mktemp("page") / "page.html").as_uri()


@pytest.fixture(scope="module")
def pages(browser: Any, address: str) -> Iterator[Callable[[str], Any]]:
    """The page in each colour scheme, drawn once."""
    yield from opener(browser, address, READY)


@pytest.fixture(params=SCHEMES)
def opened(request: pytest.FixtureRequest, pages: Callable[[str], Any]) -> Iterator[Any]:
    """The page of all tests in a colour scheme, which is put back to its first step."""
    page = pages(request.param)
    yield page
    page.set_viewport_size(DESK)
    page.locator("#steps [data-part=teach]").uncheck()
    page.locator("#steps .stops button").first.click()
    page.wait_for_function(READY)


@pytest.fixture(params=SCHEMES)
def fresh(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """A page of the test's own, for what cannot be put back."""
    page = open_page(browser, address, request.param, READY)
    yield page
    page.context.close()


def go(page: Any, name: str) -> None:
    """Press the button of a step and wait for its pictures."""
    page.locator("#steps .stops button", has_text=name).first.click()
    page.wait_for_function(READY)


def test_every_step_is_drawn_without_a_complaint(opened: Any) -> None:
    """Each step has its rule, and a rectangle for each buffer of each map; nothing is asked of the network."""
    found = explanation()
    states = [found.states[0], *(found.states[step.state] for step in found.steps)]
    for number in range(len(states)):
        opened.wait_for_function(READY)
        assert opened.locator("#steps [data-part=count]").inner_text() == f"{number} of {len(found.steps)}"
        shown = [states[number]] if number == 0 or found.steps[number - 1].is_idle else states[number - 1 : number + 1]
        rectangles = [place.locator("[class*=layer_0_marks] path").count() for place in opened.locator(MAP).all()]
        assert rectangles == [len(state.buffers) for state in shown]
        boxes = [each.locator("g > rect").count() for each in opened.locator("#steps .graph svg").all()]
        assert boxes[-1] == len(shown[-1].nodes) + len(shown[-1].inputs) + len(shown[-1].outputs)
        if number:
            assert found.steps[number - 1].rule in opened.locator("#steps .rule").inner_text()
        opened.locator("#steps [data-part=next]").click() if number < len(found.steps) else None
    assert opened.complaints == []


def test_changes_are_marked(opened: Any) -> None:
    """Fusion ends the product before a bias, and changes the node that takes the bias in, by a sign and not by colour alone."""
    go(opened, "fuse")
    before, after = opened.locator("#steps .graph svg").all()
    assert before.locator("g.gone .title").first.text_content() == "\u2212 0  v0 = matmul"
    assert after.locator("g.changed .title").first.text_content() == "~ 0  v2 = matmul"
    assert "v0 is gone" in before.get_attribute("aria-label")


def test_a_refusal_has_its_reason(opened: Any) -> None:
    """In-place does nothing after fusion, and the page says why."""
    go(opened, "in_place")
    assert "every node left is a matrix product" in opened.locator("#steps .reasons").inner_text()
    assert "changes nothing here" in opened.locator("#steps [data-part=name]").inner_text()


def test_the_worth_is_shown_where_it_was_measured(opened: Any) -> None:
    """A pass of a network that was measured has three comparisons."""
    go(opened, "fuse")
    assert opened.locator("#steps [data-part=worth] tbody tr").count() == 3


def test_an_address_names_its_step(opened: Any, address: str) -> None:
    """Moving changes the fragment, and a fragment opens its step."""
    go(opened, "static")
    assert opened.url == f"{address}#step-static"
    opened.goto(f"{address}#step-codegen")
    opened.reload()
    opened.wait_for_function(READY)
    assert opened.locator("#steps [aria-current=step]").inner_text().startswith("codegen")


def test_keys_move_the_steps(opened: Any) -> None:
    """Arrow keys on the slider and on a button; Home and End go to the ends."""
    name = opened.locator("#steps [data-part=name]")
    opened.locator("#steps [data-part=slider]").focus()
    opened.keyboard.press("ArrowRight")
    assert name.inner_text().startswith("1. recognize")
    opened.locator("#steps .stops button").first.focus()
    opened.keyboard.press("ArrowRight")
    assert name.inner_text().startswith("2. fold_scale")
    opened.keyboard.press("End")
    assert name.inner_text().startswith("13. parallelize")
    opened.keyboard.press("Home")
    assert name.inner_text().startswith("As written")


def test_a_question_hides_the_answer(opened: Any) -> None:
    """With questions on, a step is shown after it was answered; a wrong answer is put right."""
    opened.locator("#steps [data-part=teach]").check()
    opened.locator("#steps .stops button", has_text="fuse").click()
    assert not opened.locator("#steps [data-part=answer]").is_visible()
    assert "Will it change anything" in opened.locator("#steps .question").inner_text()
    opened.locator("#steps .question button", has_text="no").click()
    assert "Not quite. Right is: yes." in opened.locator("#steps .question").inner_text()
    assert opened.locator("#steps [data-part=answer]").is_visible()


def test_passes_can_be_switched(fresh: Any) -> None:
    """Without `static` a call makes arrays and there is no arena; the state is the compiler's."""
    facts = fresh.locator("#switches [data-part=facts]")
    assert "0 arrays made in a call, arena" in facts.inner_text()
    fresh.locator("#switches label", has_text="static").click()
    fresh.wait_for_function(READY)
    assert "no arena" in facts.inner_text()
    assert fresh.locator("#switches select").input_value() != ""


def test_registers_fill_as_instructions_run(opened: Any) -> None:
    """After the last instruction all that were written are full, and the last one stands in a sentence."""
    if not explanation().code:
        pytest.skip("no generated code on this machine")
    listing = opened.locator("#code [data-listing='0']")
    assert listing.locator(".registers [data-full]").count() == 1
    listing.locator("[data-part=slider]").focus()
    opened.keyboard.press("End")
    instructions = explanation().code[0].instructions
    assert opened.locator("#code details[open]").count() == 1
    assert listing.locator(".registers [data-full]").count() == len({each.register for each in instructions} - {-1})
    assert instructions[-1].text in listing.locator("[data-part=said]").inner_text()


def test_markup_in_a_name_does_nothing(browser: Any, tmp_path: Path) -> None:
    """A value and a network that are called like an element with a handler are text, in the second of two networks on a page."""
    written = write_explanation(run_of(explanation(), evil_explanation()), tmp_path / "page.html")
    page = open_page(browser, f"{written.as_uri()}#n1-step-fuse", "light", READY)
    assert page.title().startswith("mlbench explain")
    assert page.locator("main img").count() == 0
    assert page.locator("#n1-steps .graph text", has_text="v2<img").count() > 0
    assert "mlbench explain --measure" in page.locator("#n1-steps [data-part=worth]").inner_text()
    page.context.close()


def test_a_phone_shows_it_without_scrolling_sideways(opened: Any) -> None:
    """At 390 pixels nothing is wider than the screen, whatever the step, and what scrolls in its own box says so."""
    opened.set_viewport_size({"width": 390, "height": 800})
    for name in ("fuse", "codegen"):
        go(opened, name)
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.wait_for_function("""() => {
        const seen = [...document.querySelectorAll(".scroll, .graph")].filter(box => box.checkVisibility());
        const wide = seen.filter(box => box.scrollWidth > box.clientWidth + 1);
        return wide.length && wide.every(box => getComputedStyle(box, "::before").content.startsWith('"scroll sideways'));
    }""", timeout=5000)  # fmt: skip


@IN_BOTH_SCHEMES
def test_axe_finds_no_fault(opened: Any) -> None:
    """axe-core's rules of accessibility: no violation on the page at a step, and none in the steps with a question."""
    go(opened, "codegen")
    found = violations(opened)
    opened.locator("#steps [data-part=teach]").check()
    go(opened, "fuse")
    found += violations(opened, "#steps")
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []
