"""Messages to a live worker, and what it answers: Kafka as seen by the evaluation."""

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import FrontpageError, UnavailableError
from worker.emitter import connect_producer
from worker.kafka_security import librdkafka_config
from worker.replay import Offsets
from worker.stream_evaluation.live_services import LiveWorker

_POLL_S = 0.2  # how late Ctrl-C, or a worker that has ended, is noticed
_FLUSH_S = 120.0
_json = msgspec.json.Encoder()


class Exchange:
    """Send records, and receive the front pages that the worker emits."""

    def __init__(self, worker: LiveWorker) -> None:
        self._worker = worker
        self._failure: KafkaError | None = None
        self.ends: Offsets = {}
        settings = worker.settings
        config = librdkafka_config(settings)
        # One request at a time: a batch that is sent again must not come after the next one.
        order = {"linger.ms": 0, "max.in.flight.requests.per.connection": 1}
        self._producer = connect_producer({**config, **order})
        self._consumer = Consumer(
            {
                **config,
                "group.id": f"{settings.app_id}-evaluation",
                "fetch.wait.max.ms": round(settings.fetch_wait_s * 1000),
            }
        )
        # Not a subscription: nobody else reads these, and joining a group takes seconds.
        answers = (settings.topic_recommendations, settings.topic_dead_letters)
        self._consumer.assign([TopicPartition(topic, 0, 0) for topic in answers])

    def flush(self) -> None:
        """Wait until everything sent has been delivered."""
        if self._producer.flush(_FLUSH_S):
            raise UnavailableError("Kafka: messages were not delivered in time")
        self._check()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._producer.purge()
        self._producer.flush(1)

    def next_message(self) -> Message | None:
        """Return an answer if one comes soon.

        Raises:
            FrontpageError: when the worker has refused a message.
            UnavailableError: when the brokers fail, or the worker has ended.
        """
        self._producer.poll(0)
        message = self._consumer.poll(_POLL_S)
        self._check()
        if message is None:
            self._worker.check()
            return None
        if error := message.error():
            raise UnavailableError(f"Kafka: {error.str()}")
        if message.topic() == self._worker.settings.topic_dead_letters:
            headers = dict(message.headers() or ())
            raise FrontpageError(f"the worker refused a message: {headers['reason']!r}")
        return message

    def send(self, topic: str, key: str, record: msgspec.Struct) -> None:
        """Send a record as JSON.

        Raises:
            UnavailableError: when an earlier one could not be delivered.
        """
        value = _json.encode(record)
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._on_delivery)
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise UnavailableError(f"Kafka: {error.args[0].str()}") from error
        self._check()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = error
            return
        place = (message.topic() or "", message.partition() or 0)
        self.ends[place] = max(self.ends.get(place, 0), (message.offset() or 0) + 1)

    def _check(self) -> None:
        if self._failure is not None:
            raise UnavailableError(f"Kafka: {self._failure.str()}")
