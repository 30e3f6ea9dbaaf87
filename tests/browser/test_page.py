"""The two-reader story: click, watch the estimates move and the news rearrange, erase."""

import time
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from playwright.sync_api import expect

from schemas import keys
from tests.browser.conftest import MEASURED, Visitors
from tests.e2e.installation import Installation
from tests.e2e.test_serve import serve
from tests.integration.serving_site import put_article, put_page, put_profile


def test_clicks_move_the_estimates_and_rearrange_the_news(
    visitors: Visitors, request: pytest.FixtureRequest
) -> None:
    visitor = visitors.come()
    left, right = visitor.columns
    ids = right.choice.locator("option").evaluate_all("(all) => all.map((each) => each.value)")
    assert len(ids) == 12
    right.choice.select_option(ids[5])
    left.invent.click()
    expect(left.note).to_have_text("Nothing is known yet. Click a story.")
    expect(left.stories).to_have_count(10)
    expect(right.note).to_contain_text("clicks")
    expect(right.stories).to_have_count(10)
    other_note, other_estimates = right.note.text_content(), right.estimates()

    chosen: list[str] = []
    measured = request.config.stash.setdefault(MEASURED, [])
    for number in (1, 2, 3):
        before, shown = left.estimates(), left.titles()
        story = left.stories.nth(number)
        headline = story.locator(".headline")
        chosen.append(str(headline.text_content()))
        started = time.monotonic()
        headline.click()
        told = "from 1 click" if number == 1 else f"from {number} clicks"
        visitor.wait_until(
            "the clicks are counted", lambda told=told: left.note.text_content() == told
        )
        profile_s = time.monotonic() - started
        visitor.wait_until("the news has changed", lambda shown=shown: left.titles() != shown)
        page_s = time.monotonic() - started
        for name, picture in before.items():
            visitor.wait_until(name, lambda n=name, p=picture: left.estimates()[n] != p)
        measured.append(f"profile after {profile_s:.2f} s, news after {page_s:.2f} s")
        # The story that is being read stays in sight, has its text, and is not counted as news.
        expect(left.element.locator(".is-open .headline")).to_have_text(chosen[-1])
        expect(left.element.locator(".is-open .text")).to_be_visible()
        expect(left.status).to_contain_text("on the page.")
        for name in ("Age", "Gender", "Income"):
            expect(left.status).to_contain_text(name)
    assert not set(chosen[:-1]) & set(left.titles())
    assert left.element.locator(".tag-bars li").count() > 0
    expect(left.element.locator(".tag-bars .share").first).to_contain_text("%")
    for story in left.stories.all():
        assert story.locator(".tag").count() > 0
        assert str(story.locator(".why").text_content()).startswith("Because ")
    assert "you read “" in " ".join(left.element.locator(".why").all_text_contents())
    assert (right.note.text_content(), right.estimates()) == (other_note, other_estimates)


def test_a_reload_shows_the_same_readers(visitors: Visitors) -> None:
    visitor = visitors.come()
    left, right = visitor.columns
    left.invent.click()
    chosen = (left.choice.input_value(), right.choice.input_value())
    visitor.page.reload()
    visitor.wait_for_news()
    assert (left.choice.input_value(), right.choice.input_value()) == chosen


def test_a_reader_is_erased_after_a_question(visitors: Visitors, site: Installation) -> None:
    visitor = visitors.come()
    left, _ = visitor.columns
    left.invent.click()
    expect(left.stories).to_have_count(10)
    left.headlines.nth(0).click()
    expect(left.note).to_have_text("from 1 click")
    reader = left.choice.input_value()
    names = [keys.profile(reader), keys.history(reader), keys.recs(reader)]
    assert site.redis.exists(*names) == 3

    left.erase.click()
    visitor.page.locator("dialog button[value=no]").click()
    expect(left.note).to_have_text("from 1 click")
    assert site.redis.exists(*names) == 3

    left.erase.click()
    visitor.page.locator("dialog button[value=yes]").click()
    expect(left.status).to_contain_text("The reader is erased.")
    expect(left.note).to_have_text("Nothing is known yet. Click a story.")
    assert site.redis.exists(*names) == 0
    assert left.choice.input_value() != reader
    assert visitor.focused() == "Reader 1"
    expect(left.stories).to_have_count(10)


def test_a_lost_connection_is_said_and_comes_back(visitors: Visitors) -> None:
    visitor = visitors.come()
    left, _ = visitor.columns
    left.invent.click()
    expect(left.stories).to_have_count(10)
    visitor.page.context.set_offline(True)
    left.headlines.nth(0).click()
    expect(left.status).to_have_text("The click was not taken. Please try again.")
    left.invent.click()
    expect(left.status).to_have_text("Connection lost. Trying again…")
    visitor.page.context.set_offline(False)
    expect(left.status).to_have_text("Connected again.")
    expect(left.stories).to_have_count(10)
    left.headlines.nth(0).click()
    expect(left.note).to_have_text("from 1 click")


def test_text_from_the_network_is_only_text(visitors: Visitors, site: Installation) -> None:
    reader, article = (f"<b>{uuid4().hex}</b>" for _ in range(2))
    nasty = '<img src="x" onerror="alert(1)"><script>alert(2)</script>'
    put_profile(site.redis, reader)
    stored = put_article(site.redis, article)
    hostile = msgspec.structs.replace(stored, title=nasty, body=nasty, tags=[nasty])
    site.redis.set(keys.article(article), msgspec.json.encode(hostile))
    put_page(site.redis, reader, [article])
    visitor = visitors.come(fragment=f"#1={reader.replace('/', '%2F')}")
    left, _ = visitor.columns
    expect(left.headlines).to_have_text([nasty])
    expect(left.element.locator(".text")).to_have_text(nasty)
    assert left.element.locator("img, script, b").count() == 0
    site.redis.delete(keys.profile(reader), keys.recs(reader))  # no demo reader for other tests


def test_a_server_with_a_token_asks_for_it(
    visitors: Visitors, site: Installation, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(site.settings, http_token="a-token-of-the-tests")
    with serve(settings, tmp_path, "--demo") as (address, _):
        visitor = visitors.come(address=address)
        field = visitor.page.locator("#token")
        field.fill("a-token-of-the-tests")
        field.press("Enter")
        visitor.wait_for_news()
        visitor.columns[0].invent.click()
        expect(visitor.columns[0].note).to_have_text("Nothing is known yet. Click a story.")
        expect(field).to_be_hidden()
