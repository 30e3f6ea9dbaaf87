"""The page in headless Chromium, on the whole path: Kafka, a worker, Redis, `frontpage serve`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from schemas.reading_set import ReadingSet
from tests.browser.visitor import Visitor
from tests.e2e.installation import Installation, installation
from tests.e2e.test_serve import serve
from tests.kafka_broker import TestBroker
from worker.local.up import contrasting_readers

NAMES = ("chromium", "chromium-browser", "google-chrome")
NOT_TESTED = pytest.StashKey[str]()
MEASURED = pytest.StashKey[list[str]]()
NO_BROWSER = "the page was NOT tested: no Chromium (`apt-get install chromium`)"
LARGE = {"width": 1360, "height": 900}


@pytest.fixture(scope="session")
def chromium_path(request: pytest.FixtureRequest) -> str:
    """The system's Chromium. Without one: skipped, but failed in CI unless CI could not get one.

    Of the session like Kafka, and asked for first: without a browser nothing is started in vain.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        request.config.stash[NOT_TESTED] = NO_BROWSER
        if os.environ.get("CI") == "true" and not os.environ.get("CI_NO_BROWSER"):
            pytest.fail(f"CI needs a browser: {NO_BROWSER}")
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="package")
def chromium(chromium_path: str) -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path)
        yield browser
        browser.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how fast the page followed clicks, or loudly that there was no browser."""
    for number, line in enumerate(config.stash.get(MEASURED, []), 1):
        terminalreporter.write_line(f"The page, click {number}: {line}")
    reason = config.stash.get(NOT_TESTED, None)
    if reason:
        terminalreporter.write_line(reason, red=True, bold=True)


@pytest.fixture(scope="package")
def site(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """A newsroom whose readers have clicked, and a worker."""
    directory = tmp_path_factory.mktemp("site")
    with installation(kafka.bootstrap_servers, bundle, directory) as found:
        found.start_worker()
        run = found.replay()
        reading_set = ReadingSet(newsroom)
        run.articles(reading_set)
        run.clicks(reading_set)
        found.wait_until_stored()
        yield found


@pytest.fixture(scope="package")
def address(
    site: Installation, newsroom: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the page is served, as `frontpage up` does."""
    readers = contrasting_readers(ReadingSet(newsroom))
    options = ["--demo", *(f"--demo-reader={reader.user_id}" for reader in readers)]
    with serve(site.settings, tmp_path_factory.mktemp("serve"), *options) as (found, _):
        yield found


class Visitors:
    """Open the page as different people; whatever a page complains of fails the test."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser = browser
        self._address = address
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def come(self, *, address: str | None = None, fragment: str = "", **device: object) -> Visitor:
        """Open the page; wait until both readers have news, unless it is another address."""
        options = {"viewport": LARGE, "locale": "en-US", **device}
        context = self._browser.new_context(**options)
        context.set_default_timeout(20_000)
        self._contexts.append(context)
        page: Page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto((address or self._address) + fragment)
        visitor = Visitor(page)
        if address is None and not fragment:
            visitor.wait_for_news()
        return visitor

    def leave(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def visitors(chromium: Browser, address: str) -> Iterator[Visitors]:
    found = Visitors(chromium, address)
    yield found
    found.leave()
    assert not found.complaints
