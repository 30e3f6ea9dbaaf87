"""How `frontpage snapshot` behaves to files, brokers and signals, and when it is used wrongly."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from schemas.errors import ReadingSetError, UnavailableError
from tests.integration.published import Publish, click, clicks_of, installed, publisher
from tests.kafka_broker import BrokerUnavailableError, TestBroker, kafka_broker
from worker.kafka_security import librdkafka_config
from worker.local.up import environment
from worker.settings import Settings
from worker.snapshot import Wanted, take_snapshot
from worker.snapshot_command import snapshot
from worker.snapshot_reader import TopicReader


@pytest.fixture
def settings(kafka: TestBroker) -> Settings:
    return installed(Settings(kafka_bootstrap=kafka.bootstrap_servers))


@pytest.fixture
def publish(settings: Settings) -> Publish:
    return publisher(settings)


def test_what_stands_at_out_is_replaced_only_by_a_whole_set(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, click("u", "a", 1))
    take_snapshot(settings, tmp_path / "set", Wanted())
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"user_id":"u","age":40}\n{"user_id":"v","age":"old"}\n')
    with pytest.raises(ReadingSetError, match=r"labels.jsonl:2: .*age"):
        take_snapshot(settings, tmp_path / "set", Wanted(labels_file=labels))
    assert clicks_of(tmp_path / "set") == [("u", "a", 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "set"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-grandmother").touch()
    for other in (tmp_path / "letters", labels):
        with pytest.raises(ReadingSetError, match="not a reading set"):
            take_snapshot(settings, other, Wanted())
    assert (tmp_path / "letters" / "to-grandmother").exists()


def test_a_stream_that_goes_on_does_not_keep_it_from_ending(
    settings: Settings, publish: Publish
) -> None:
    publish(settings.topic_clicks, *(click("u", "a", hour) for hour in range(100)))
    reader = TopicReader(settings)
    num_read = 0
    for _ in reader.read(settings.topic_clicks, [0, 1]):
        num_read += 1
        publish(settings.topic_clicks, click("u", "a", 200 + num_read))
    reader.close()
    assert num_read == 100


def test_it_joins_no_group_and_commits_nothing(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    from confluent_kafka.admin import AdminClient

    publish(settings.topic_clicks, click("u", "a", 1))
    take_snapshot(settings, tmp_path / "set", Wanted())
    groups = AdminClient(librdkafka_config(settings)).list_consumer_groups().result(30).valid
    assert f"{settings.app_id}-snapshot" not in {group.group_id for group in groups}


def test_what_is_missing_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such topic: nowhere"):
        take_snapshot(
            msgspec.structs.replace(settings, topic_reader_labels="nowhere"),
            tmp_path / "set",
            Wanted(),
        )
    with pytest.raises(UnavailableError, match="FRONTPAGE_KAFKA_BOOTSTRAP"):
        TopicReader(Settings(kafka_bootstrap="127.0.0.1:1"), silence_s=1.0).find(["clicks"])
    assert list(tmp_path.iterdir()) == []


def test_ended_by_sigterm_it_leaves_nothing_of_its_readers(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    publish(settings.topic_clicks, *(click("u", "a", hour) for hour in range(10)))
    code = (
        "import worker.snapshot as it, time, worker.cli\n"
        "it.split_of = lambda user: time.sleep(60)\n"  # stops amid the writing
        "worker.cli.main()\n"
    )
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"user_id":"u","age":40}\n')
    arguments = ["snapshot", str(tmp_path / "out" / "set"), "--labels", str(labels)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment(settings))
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".set-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "yesterday"],
        ["--from", "2026-11-01"],
        ["--from", "5", "--until", "5"],
        ["--income-groups", "1"],
        ["--income-groups", "low,,high"],
        ["--income-groups", "low,low"],
    ],
)
def test_wrong_options_are_wrong_usage(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(snapshot, [str(tmp_path / "set"), *arguments])
    assert result.exit_code == 2


def test_it_reads_over_tls_with_a_password(tmp_path: Path) -> None:
    try:
        with kafka_broker(tmp_path / "kafka", security="sasl_ssl") as kafka:
            settings = installed(
                Settings(
                    kafka_bootstrap=kafka.bootstrap_servers,
                    kafka_security_protocol="SASL_SSL",
                    kafka_sasl_mechanism=kafka.facts["mechanism"],  # type: ignore[arg-type]
                    kafka_username=kafka.facts["username"],
                    kafka_password=kafka.facts["password"],
                    kafka_ca_file=Path(kafka.facts["ca_file"]),
                )
            )
            publisher(settings)(settings.topic_clicks, click("u", "a", 1))
            assert take_snapshot(settings, tmp_path / "set", Wanted()).clicks == 1
    except BrokerUnavailableError as error:
        pytest.skip(str(error))
