"""From a worker's dead letters back to a worker: what was misdirected, and what stays bad."""

import json
import time
from pathlib import Path

from click.testing import CliRunner

from schemas.records import DeadLetter
from tests.e2e.installation import installation, wait_until
from tests.kafka_broker import TestBroker
from worker.dead_letters_command import dead_letters
from worker.local.up import environment


def test_clicks_that_were_sent_to_another_topic_reach_their_reader(
    kafka: TestBroker, bundle: Path, tmp_path: Path
) -> None:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as site:
        topics = site.settings.topics
        now_ms = int(time.time() * 1000)
        click = {"user_id": "u", "article_id": "a", "timestamp": now_ms, "event_id": "e"}

        def republish(*arguments: str) -> dict[str, object]:
            done = CliRunner(env=environment(site.settings)).invoke(
                dead_letters, ["republish", "--yes", "--json", *arguments], catch_exceptions=False
            )
            found = json.loads(done.stdout)
            assert isinstance(found, dict)
            return found

        def letters(count: int) -> list[DeadLetter]:
            found = site.read_topic(topics.dead_letters, lambda found: len(found) >= count)
            found.sort(key=lambda message: message.timestamp()[1])
            return [DeadLetter.from_headers(message.headers() or []) for message in found]  # type: ignore[arg-type]

        site.start_worker()
        site.produce(topics.impressions, (b"u", json.dumps(click).encode()))
        site.produce(topics.clicks, (b"v", b"{not json"))
        site.wait_until_stored()
        assert {letter.topic for letter in letters(2)} == {topics.impressions, topics.clicks}
        assert "u" not in site.profiles()

        report = republish("--topic", topics.impressions, "--to", topics.clicks)
        assert report["sent"] == {topics.clicks: 1}
        wait_until("the click is stored", lambda: "u" in site.profiles())
        assert site.profiles()["u"].num_clicks == 1

        # What is bad stays bad: it comes back once, and not by itself.
        assert republish("--topic", topics.clicks)["sent"] == {topics.clicks: 1}
        again = letters(3)[-1]
        assert (again.reason, again.topic) == ("malformed", topics.clicks)
        assert (again.republished_from or "").startswith(topics.dead_letters)
        time.sleep(1.0)
        assert len(letters(3)) == 3
        assert republish("--topic", topics.clicks, "--dry-run")["left_out"] == {
            "republished before": 1
        }
