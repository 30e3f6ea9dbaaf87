"""The worker's settings: the only reader of the environment.

Each field is the environment variable `FRONTPAGE_` + its name in upper case, so `redis_url` is
`FRONTPAGE_REDIS_URL`. A setting that is wrong stops the start with a message that names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from schemas.errors import SettingsError
from schemas.topics import Topics

PREFIX = "FRONTPAGE_"
MS_PER_DAY = 86_400_000

Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=60.0)]
Days = Annotated[float, msgspec.Meta(ge=0.001, le=36_500.0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, with its default."""

    bundle: Path = Path("bundle")
    """Directory of the model bundle."""
    shadow_bundle: Path | None = None
    """A second model that is compared with the first and serves nobody; see `worker.shadow`."""
    shadow_share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """Of batches of which it is asked, if there is time for it."""
    data_dir: Path = Path(".frontpage/worker")
    """Faust's working directory; nothing in it needs to survive."""
    app_id: Name = "frontpage"
    """Consumer group: workers with the same id share the partitions."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line."""
    trace: bool = False
    """Whether trace contexts in headers of clicks are handed on; see `worker.tracing`."""

    metrics_host: str = "127.0.0.1"
    """Where the worker's `/metrics`, `/live` and `/ready` are served; see `worker.operations`."""
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    """Without one they are not; 0 takes a free one, and the log says which."""
    http_token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{16,256}\Z")] | None = None
    """What requests from elsewhere must bear; a host other than loopback needs it."""
    stall_s: Annotated[float, msgspec.Meta(ge=0.1, le=86_400.0)] = 60.0
    """After how long without progress, while messages wait, `/live` says no. Calls that get no
    answer are given up after 40 s: with less than that, an outage may be taken for the worker's."""

    kafka_bootstrap: str = "127.0.0.1:9092"
    """Comma-separated host:port list."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_username: str | None = None
    kafka_password: str | None = None
    kafka_ca_file: Path | None = None
    """Certificate authority of the brokers; without it, the system's."""
    kafka_cert_file: Path | None = None
    """Client certificate for mutual TLS."""
    kafka_key_file: Path | None = None
    session_timeout_s: Annotated[float, msgspec.Meta(ge=1.0, le=60.0)] = 6.0
    """How long until a silent worker's partitions go to others."""
    commit_interval_s: Seconds = 1.0
    """How often offsets are committed; when nothing more comes, at once."""
    fetch_wait_s: Annotated[float, msgspec.Meta(ge=0.001, le=60.0)] = 1.5
    """How long brokers may hold back the answer to a fetch that finds nothing new. Apache Kafka
    answers as soon as something comes; the embedded broker lets the time pass."""

    topic_articles: Name = "articles"
    topic_clicks: Name = "clicks"
    topic_erasures: Name = "erasures"
    topic_impressions: Name = "impressions"
    topic_preferences: Name = "preferences"
    topic_profiles: Name = "profiles"
    topic_reader_labels: Name = "reader-labels"
    topic_recommendations: Name = "recommendations"
    topic_visits: Name = "visits"
    topic_served_features: Name = "served-features"
    topic_dead_letters: Name = "dead-letters"

    redis_url: str = "redis://127.0.0.1:6379/0"
    """redis://, rediss:// (TLS) or unix://, with user and password where needed."""
    redis_cluster: bool = False
    """Whether the URL names a node of a Redis Cluster."""
    redis_ca_file: Path | None = None
    """Certificate authority of the Redis server; without it, the system's."""
    redis_timeout_s: Seconds = 5.0

    http_host: str = "127.0.0.1"
    """Where `frontpage serve` listens; another host than this machine's own needs a token."""
    http_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    """Of `frontpage serve`; 0 for any that is free."""
    http_write_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 500.0
    """Requests a second that one client may send to `frontpage serve` to publish, erase or rank;
    twice as many at once. More get 429. 0: no limit."""
    http_read_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """The same of requests that only read. 0: no limit."""
    http_proxies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    """Proxies in front of `frontpage serve` that add to `X-Forwarded-For`: so many entries from
    its right names a client. 0: the header is not looked at, and who connects is the client."""

    ttl_days: Days = 90.0
    """How long a key lives after its last change."""
    erasures_remembered_days: Days | None = None
    """How long it is remembered, without a name, that a reader was erased; for good by default. At
    least as long as the topics of clicks, visits and impressions are kept, or a replay of them
    brings the reader back."""
    history_size: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1024
    """Clicks kept per reader (16 bytes each)."""
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 8000
    """Most messages fetched and processed at once: so many only of a backlog."""
    max_pending_chunks: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """Fetched chunks that may wait; bounds memory when Redis or Kafka is slow."""

    num_recommendations: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    recommend_file: Path | None = None
    """How to recommend, in TOML; see `worker/recommend/options.py`."""
    log_features: bool = False
    """Whether the features of each emitted item go to the topic of served features."""
    market: str | None = None
    """Which of that file's markets this worker serves."""
    co_click_slots: Annotated[int, msgspec.Meta(ge=2, le=8192)] = 2048
    """Articles with co-click counts; takes 12 bytes times its square."""
    wait_for_fits: bool = False
    """Whether clicks wait while the item model is fitted, each batch looks anew at what is on
    offer, and lessons are not limited, as in `evaluate-stream`; its `--live` turns it on."""
    tag_half_life_days: Days = 14.0
    """How fast a reader's own tag interests fade, relative to the newest click."""

    @property
    def topics(self) -> Topics:
        """The topic names in one record."""
        return Topics(
            articles=self.topic_articles,
            clicks=self.topic_clicks,
            erasures=self.topic_erasures,
            impressions=self.topic_impressions,
            preferences=self.topic_preferences,
            profiles=self.topic_profiles,
            reader_labels=self.topic_reader_labels,
            recommendations=self.topic_recommendations,
            visits=self.topic_visits,
            served_features=self.topic_served_features,
            dead_letters=self.topic_dead_letters,
        )

    @property
    def ttl_ms(self) -> int:
        """Time to live of every key."""
        return int(self.ttl_days * MS_PER_DAY)

    @property
    def marks_ttl_ms(self) -> int | None:
        """Time to live of the marks of erased readers; None for ever."""
        days = self.erasures_remembered_days
        return None if days is None else int(days * MS_PER_DAY)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read and validate the settings.

    >>> read_settings({"FRONTPAGE_TTL_DAYS": "7"}).ttl_days
    7.0

    Raises:
        SettingsError: names the variable that is unknown, malformed or out of range.
    """
    values = {}
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable[len(PREFIX) :].lower()
        if name in FOREIGN:
            continue
        if name not in types:
            raise SettingsError(f"{variable}: unknown setting")
        if text == "" and type(None) in get_args(types[name]):
            continue
        try:
            values[name] = msgspec.convert(
                text, types[name], strict=False, dec_hook=lambda kind, value: kind(value)
            )
        except msgspec.ValidationError as error:
            raise SettingsError(f"{variable}: {error}") from error
    settings = Settings(**values)
    _check(settings)
    return settings


FOREIGN = frozenset({"test_kafka", "test_redis", "kafka_home"})
"""Variables with the same prefix that the tests read."""


def _check(settings: Settings) -> None:
    for server in settings.kafka_bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise SettingsError(f"{PREFIX}KAFKA_BOOTSTRAP: expected host:port, comma-separated")
    if settings.kafka_security_protocol.startswith("SASL") and (
        settings.kafka_username is None or settings.kafka_password is None
    ):
        raise SettingsError(f"{PREFIX}KAFKA_USERNAME, {PREFIX}KAFKA_PASSWORD: needed for SASL")
    if (settings.kafka_cert_file is None) != (settings.kafka_key_file is None):
        raise SettingsError(f"{PREFIX}KAFKA_CERT_FILE, {PREFIX}KAFKA_KEY_FILE: need each other")
    for name in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file", "redis_ca_file"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise SettingsError(f"{PREFIX}{name.upper()}: no such file")
    scheme = settings.redis_url.partition("://")[0]
    if scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(f"{PREFIX}REDIS_URL: expected redis://, rediss:// or unix://")
    if scheme == "unix" and settings.redis_cluster:
        raise SettingsError(f"{PREFIX}REDIS_URL: a cluster needs redis:// or rediss://")
    topics = settings.topics
    apart = set(topics.all()) - {topics.clicks, topics.articles}
    if len(apart) < len(topics.__struct_fields__) - 2:
        raise SettingsError(f"{PREFIX}TOPIC_…: only articles and clicks may share a topic")
