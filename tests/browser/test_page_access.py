"""The page for everybody: languages, light and dark, phones, keyboards, screen readers."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitors
from worker.serve.static import DIRECTORY

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds of serious or critical impact, with where."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        {"rule": each["id"], "at": [node["target"] for node in each["nodes"]]}
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious(visitors: Visitors) -> None:
    for device in (
        {"color_scheme": "light", "reduced_motion": "reduce"},
        {"color_scheme": "dark", "reduced_motion": "reduce"},
        {"locale": "zh-CN", "reduced_motion": "reduce", **PHONE},
    ):
        visitor = visitors.come(**device)
        left, _ = visitor.columns
        left.invent.click()
        expect(left.stories).to_have_count(10)
        left.headlines.nth(1).click()
        expect(left.element.locator(".tag-bars li").first).to_be_visible()
        expect(left.status).not_to_be_empty()
        assert violations(visitor.page) == [], device
    left.erase.click()
    assert violations(visitor.page) == []


def test_english_and_chinese(visitors: Visitors) -> None:
    visitor = visitors.come()
    html = visitor.page.locator("html")
    said = visitor.page.locator("[data-say]:not(h1):not(#language), .reader :is(h2, h3, label)")
    left, _ = visitor.columns
    titles = left.titles()
    expect(html).to_have_attribute("lang", "en")
    visitor.page.get_by_role("button", name="中文").click()
    expect(html).to_have_attribute("lang", "zh")
    assert all(CHINESE.search(each) for each in said.all_text_contents())
    expect(left.element.locator(".why").first).to_contain_text("因为")
    assert left.titles() == titles  # the newsroom's own text stays as it is
    languages = left.headlines.evaluate_all("(all) => all.map((each) => each.lang)")
    assert set(languages) <= {"en", "de", "zh"}
    visitor.page.reload()
    expect(html).to_have_attribute("lang", "zh")
    visitor.page.get_by_role("button", name="English").click()
    expect(html).to_have_attribute("lang", "en")
    assert not any(CHINESE.search(each) for each in said.all_text_contents())

    chinese = visitors.come(locale="zh-CN")
    expect(chinese.page.locator("html")).to_have_attribute("lang", "zh")


def test_both_languages_have_all_words_and_no_others(visitors: Visitors) -> None:
    page = visitors.come().page
    words = page.evaluate(
        "import('/words.js').then(({WORDS}) => Object.values(WORDS).map(Object.keys))"
    )
    assert len(words) == 2 and words[0] == words[1]
    sources = "".join(
        path.read_text()
        for path in DIRECTORY.glob("*")
        if path.name not in ("words.js", "icon.svg")
    )
    assert [each for each in words[0] if f'"{each}"' not in sources] == []


def test_estimates_in_words_are_no_more_precise_than_they_are(visitors: Visitors) -> None:
    said = visitors.come().page.evaluate(
        """import('/estimates.js').then(({ageInWords, genderInWords, incomeInWords}) => [
          ageInWords({years: 24.3, sd: 5}), ageInWords({years: 18, sd: 6}),
          ...[0.02, 0.2, 0.5, 0.8, 0.98].map((female) => genderInWords({female})),
          incomeInWords({probabilities: [0.0, 0.1, 0.4, 0.4, 0.1, 0, 0, 0, 0, 0]}),
          incomeInWords({probabilities: [0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.9]}),
          incomeInWords({probabilities: Array(10).fill(0.1)}),
        ])"""
    )
    assert said == [
        *("probably 18 to 31 years", "probably under 26 years"),
        *("very likely male", "rather male", "hard to tell", "rather female", "very likely female"),
        *("probably groups 3 to 4 of 10", "probably group 10 of 10"),
        "hard to tell: any of 10 groups",
    ]


def test_light_and_dark(visitors: Visitors) -> None:
    visitor = visitors.come(color_scheme="dark")
    assert max(visitor.background()) < 64
    visitor.page.get_by_role("button", name="Light").click()
    assert min(visitor.background()) > 192
    visitor.page.reload()
    visitor.wait_for_news()
    assert min(visitor.background()) > 192
    visitor.page.get_by_role("button", name="Dark").click()
    assert max(visitor.background()) < 64


def test_nothing_is_wider_than_the_screen(visitors: Visitors) -> None:
    visitor = visitors.come(**PHONE)
    left, _ = visitor.columns
    left.headlines.nth(1).tap()
    expect(left.element.locator(".is-open .text")).to_be_visible()
    for width in (320, 390, 600, 768, 1024, 1280):
        visitor.page.set_viewport_size({"width": width, "height": 844})
        wider = visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert (width, wider) <= (width, 0)
        cut = visitor.page.locator(".profile").evaluate_all(
            "(all) => all.some((each) => each.scrollWidth > each.clientWidth + 1)"
        )
        assert not cut, width


def test_a_phone_shows_one_reader_at_a_time(visitors: Visitors) -> None:
    visitor = visitors.come(**PHONE)
    left, right = visitor.columns
    expect(left.element).to_be_visible()
    expect(right.element).to_be_hidden()
    visitor.page.get_by_role("button", name="Reader 2").tap()
    expect(left.element).to_be_hidden()
    expect(right.element).to_be_visible()
    # What was estimated is above what was tapped, so it is told at the foot of the screen.
    right.headlines.nth(8).tap()
    expect(right.status).to_contain_text("Age: ")
    box = right.status.bounding_box()
    assert box is not None and box["y"] + box["height"] > 800


def test_the_keyboard_is_enough(visitors: Visitors) -> None:
    visitor = visitors.come()
    left, _ = visitor.columns
    keyboard = visitor.page.keyboard
    keyboard.press("Tab")
    assert visitor.focused() == "Skip to the readers"
    keyboard.press("Enter")
    visitor.tab_to(left.choice)
    visitor.tab_to(left.invent)
    keyboard.press("Enter")
    expect(left.note).to_have_text("Nothing is known yet. Click a story.")
    expect(left.stories).to_have_count(10)
    visitor.tab_to(left.headlines.nth(4))
    title = visitor.focused()
    outline = left.headlines.nth(4).evaluate(
        "(each) => getComputedStyle(each, '::after').outlineStyle"
    )
    assert outline == "solid"
    keyboard.press("Enter")
    expect(left.note).to_have_text("from 1 click")
    expect(left.status).to_contain_text("on the page.")
    assert visitor.focused() == title  # although everything around it has moved
    keyboard.press("Enter")  # closes the story, which is no news any more: the next has the focus
    assert visitor.focused() in left.titles()

    left.erase.focus()
    keyboard.press("Enter")
    dialog = visitor.page.get_by_role("dialog", name="Erase this reader?")
    expect(dialog).to_be_visible()
    assert visitor.focused() == "Keep"
    keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert visitor.focused() == "Erase this reader"


def test_who_wants_no_motion_gets_none(visitors: Visitors) -> None:
    visitor = visitors.come(reduced_motion="reduce")
    left, _ = visitor.columns
    visitor.page.evaluate(
        "void (Element.prototype.animate = () => { document.title = 'something moves'; })"
    )
    left.headlines.nth(3).click()
    expect(left.status).to_contain_text("on the page.")
    assert visitor.page.title() == "frontpage"
    running = visitor.page.evaluate("document.getAnimations().length")
    assert running == 0


def test_no_file_of_the_page_names_another_site() -> None:
    allowed = "http://www.w3.org/2000/svg"
    for path in Path(DIRECTORY).iterdir():
        text = path.read_text().replace(allowed, "")
        assert not re.search(r"https?://|//\w+\.\w+/", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)
