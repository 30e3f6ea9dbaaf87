"""A served site in the test's own process, on a Redis and topics of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import redis
from aiohttp import ClientSession
from confluent_kafka import Consumer, Message, TopicPartition

from schemas import keys
from schemas.records import (
    AgeEstimate,
    Article,
    GenderEstimate,
    IncomeEstimate,
    Profile,
    Reason,
    Recommendation,
    RecommendedItem,
)
from worker.local.topics import create_topics
from worker.serve.site import build_site, serving
from worker.settings import Settings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@asynccontextmanager
async def served(settings: Settings, **options: Any) -> AsyncIterator[ClientSession]:
    """Give a client of a site that is served meanwhile."""
    async with (
        serving(build_site(settings, **options), settings.http_host, 0) as running,
        ClientSession(running.address) as client,
    ):
        yield client


def with_topics(settings: Settings) -> Settings:
    """Create topics that nobody else uses."""
    name = uuid4().hex[:8]
    found = msgspec.structs.replace(
        settings,
        topic_clicks=f"clicks-{name}",
        topic_visits=f"visits-{name}",
        topic_erasures=f"erasures-{name}",
        topic_preferences=f"preferences-{name}",
    )
    wanted = (
        found.topic_clicks,
        found.topic_visits,
        found.topic_erasures,
        found.topic_preferences,
    )
    create_topics(found.kafka_bootstrap, dict.fromkeys(wanted, 1))
    return found


def messages(settings: Settings, topic: str, count: int) -> list[Message]:
    """Return the first messages of a topic."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "unused"})
    found: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while len(found) < count:
            message = consumer.poll(20)
            assert message is not None and message.error() is None, f"{len(found)} of {count}"
            found.append(message)
    finally:
        consumer.close()
    return found


def put_profile(server: redis.Redis, user_id: str, years: float = 40.0) -> Profile:
    """Store a profile as a worker would."""
    profile = Profile(
        user_id=user_id,
        age=AgeEstimate(years=years, sd=5.0),
        income=IncomeEstimate(group=1, probabilities=[0.25, 0.75]),
        gender=GenderEstimate(female=0.5),
        tags={"economy": 0.75, "sport": 0.25},
        num_clicks=4,
        num_known=4,
        first_click=NOW,
        last_click=NOW,
        model_version="0123456789ab",
        updated_at=NOW,
    )
    server.set(keys.profile(user_id), msgspec.json.encode(profile))
    return profile


def put_page(server: redis.Redis, user_id: str, article_ids: list[str]) -> Recommendation:
    """Store a front page as a worker would."""
    page = Recommendation(
        recommendation_id="00",
        user_id=user_id,
        items=[
            RecommendedItem(
                article_id=each,
                score=1.5,
                tags=["economy"],
                reasons=[Reason(name="trending", weight=1.5)],
            )
            for each in article_ids
        ],
        model_version="0123456789ab",
        generated_at=NOW,
    )
    server.set(keys.recs(user_id), msgspec.json.encode(page))
    return page


def put_article(server: redis.Redis, article_id: str) -> Article:
    """Store an article as a worker would."""
    article = Article(
        article_id=article_id,
        title=f"title of {article_id}",
        body="a body " * 200,
        tags=["economy"],
        published_at=NOW,
        language="en",
    )
    server.set(keys.article(article_id), msgspec.json.encode(article))
    return article
