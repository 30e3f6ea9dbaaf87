"""Rubbish on the topics lands in the dead letters, every piece of it, and hides no click."""

import random
from itertools import islice
from pathlib import Path

from schemas.reading_set import ReadingSet
from tests.e2e.installation import installation
from tests.faults.conftest import Pick
from tests.faults.load import clicks
from tests.faults.outcome import Undisturbed, check_outcome
from tests.faults.poison import Poisoner, poison
from tests.kafka_broker import TestBroker

SEED = 3
NUM_READERS = 300
ELSEWHERE = 0.2
"""Share of what is bad on every topic that goes to another one than that of clicks."""


def test_poison_lands_in_the_dead_letters_and_hides_no_click(
    kafka: TestBroker,
    bundle: Path,
    newsroom: Path,
    tmp_path: Path,
    undisturbed: Undisturbed,
    pick: Pick[int],
) -> None:
    num_bad = pick(3_000, 100_000)
    draw = random.Random(SEED)
    arguments = (SEED, undisturbed.article_ids, NUM_READERS, undisturbed.begin_ms)
    good = list(islice(clicks(*arguments), num_bad))
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        site.replay().articles(ReadingSet(newsroom))
        worker = site.start_worker()
        topics = site.settings.topics
        others = [topics.visits, topics.impressions, topics.preferences, topics.articles]
        others.append(topics.erasures)
        poisoner = Poisoner(site.client_config)
        for click, bad in zip(good, poison(SEED, clicks(*arguments)), strict=False):
            poisoner.click(topics.clicks, click, click.user_id.encode())
            elsewhere = bad.everywhere and draw.random() < ELSEWHERE
            topic = draw.choice(others) if elsewhere else topics.clicks
            keys = [b"", b"\xff\x00", click.user_id.encode(), b"k" * 10_000]
            if topic == topics.clicks:  # brokers themselves refuse it where a topic is compacted
                keys.append(None)
            poisoner.poison(topic, bad, draw.choice(keys))
        poisoner.flush()
        site.ends.update(poisoner.ends)
        assert len(poisoner.bad) == num_bad
        check_outcome(site, undisturbed, good, bad=poisoner.bad, timeout_s=pick(120, 1800))
        assert worker.is_alive()
