"""The worker's log: lines for people, or one JSON object a line."""

import json
import logging
from datetime import UTC, datetime

from worker import fetching


def set_up_logging(level: str, log_format: str) -> None:
    """Log from `level` on; log_format: `text` or `json`."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if level != "DEBUG":
        for noisy in ("faust", "mode"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Sparing(10.0))
        if log_format == "json":
            handler.setFormatter(JsonLines())


class JsonLines(logging.Formatter):
    """Write a record as one line of JSON: time, level, logger, message, exception if there is one.

    >>> record = logging.LogRecord("worker.app", logging.INFO, "", 0, "%d\\narticles", (3,), None)
    >>> record.created = 0.0
    >>> JsonLines().format(record)  # doctest: +NORMALIZE_WHITESPACE
    '{"time": "1970-01-01T00:00:00.000+00:00", "level": "INFO", "logger": "worker.app",
      "message": "3\\\\narticles"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Sparing(logging.Filter):
    """Let what the Kafka client says pass once in a while: it tells of every failed connection."""

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record passes."""
        if record.name != fetching.__name__:
            return True
        kind = (record.name, str(record.msg))
        passes = record.created - self._last.get(kind, -self._interval_s) >= self._interval_s
        if passes:
            self._last[kind] = record.created
        return passes
