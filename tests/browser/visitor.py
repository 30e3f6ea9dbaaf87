"""What somebody sees and does on the page."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

WAIT_S = 20.0


class Column:
    """One of the two readers. number: 1 or 2."""

    def __init__(self, page: Page, number: int) -> None:
        self.element = page.locator(f".reader[data-number='{number}']")
        self.choice = self.element.locator("select")
        self.invent = self.element.locator("button.invent")
        self.erase = self.element.locator("button.erase")
        self.status = self.element.locator(".status")
        self.note = self.element.locator(".note")
        self.stories = self.element.locator(".story")
        self.headlines = self.element.locator(".story .headline")

    def titles(self) -> list[str]:
        return self.headlines.all_text_contents()

    def estimates(self) -> dict[str, str]:
        """What the pictures show: the curve's path, the bars' heights, the mark's place."""
        found: dict[str, str] = self.element.evaluate(
            """(column) => ({
              age: column.querySelector('.age-curve .line').getAttribute('d'),
              income: [...column.querySelectorAll('.income-bars span')]
                .map((bar) => bar.style.getPropertyValue('--share')).join(),
              gender: column.querySelector('.mark').style.getPropertyValue('--at'),
            })"""
        )
        return found


class Visitor:
    """Somebody with a browser."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.columns = (Column(page, 1), Column(page, 2))

    def wait_for_news(self) -> None:
        for column in self.columns:
            column.stories.nth(5).wait_for(state="attached")

    def wait_until(self, what: str, is_true: Callable[[], Any]) -> float:
        """Poll from outside: the page's security policy lets nobody evaluate text in it."""
        started = time.monotonic()
        while not is_true():
            assert time.monotonic() - started < WAIT_S, f"not within {WAIT_S:.0f} s: {what}"
            self.page.wait_for_timeout(20)
        return time.monotonic() - started

    def focused(self) -> str:
        """The text of what has the focus."""
        return str(self.page.evaluate("document.activeElement.textContent")).strip()

    def tab_to(self, wanted: Locator, most: int = 40) -> None:
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("(each) => each === document.activeElement"):
                return
        raise AssertionError(f"not reached with {most} times Tab: {wanted}")

    def background(self) -> tuple[int, ...]:
        colour = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(int(each) for each in str(colour)[4:-1].split(","))
