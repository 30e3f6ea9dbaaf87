"""Dead letters as lines: for people, and as JSON for machines. Pure."""

from collections import Counter
from typing import Any

import msgspec

from schemas.timestamps import MAX_RFC3339_MS, from_ms
from worker.dead_letters import Letter, place

_json = msgspec.json.Encoder()


class LetterLine(msgspec.Struct, kw_only=True):
    """A letter as `dead-letters list --json` prints it; what is not known is null."""

    time: str | None
    reason: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    size: int
    truncated: bool | None = None
    republished_from: str | None = None
    letter_partition: int
    letter_offset: int


class WholeLetterLine(LetterLine, kw_only=True):
    """The same with what the letter holds, in base64: it need not be text."""

    key: bytes | None
    value: bytes | None


def line(letter: Letter, *, contents: bool) -> str:
    r"""Return time, reason, origin, size and whether truncated.

    An unreadable letter has no origin; where it stands itself is in that place.
    contents: whether with key and value, on lines of their own, escaped.

    >>> from schemas.records import DeadLetter
    >>> about = DeadLetter(reason="malformed", topic="clicks", partition=3, offset=1207, size=2)
    >>> print(line(Letter("dead[0]@5", 0, 5, 1_790_000_000_000, about, 2, b"u", b"\x1b["),
    ...            contents=True))
    2026-09-21T14:13:20.000Z  malformed   clicks[3]@1207  2 bytes
        key:   u
        value: \u{1b}[
    """
    about = letter.about
    origin = letter.place if about is None else place(about.topic, about.partition, about.offset)
    unit = "byte" if letter.size == 1 else "bytes"
    parts = [time_text(letter.time_ms), f"{letter.reason:<10}", origin, f"{letter.size:,} {unit}"]
    if about is not None and about.truncated:
        parts.append("truncated")
    if about is not None and about.republished_from is not None:
        parts.append(f"republished from {about.republished_from}")
    lines = ["  ".join(parts)]
    if contents:
        for name, raw in (("key:  ", letter.key), ("value:", letter.value)):
            lines.append(f"    {name} {'(none)' if raw is None else escaped(raw)}".rstrip())
    return "\n".join(lines)


def json_line(letter: Letter, *, contents: bool) -> str:
    """Return the letter as one JSON object; see `LetterLine`."""
    about = letter.about
    fields: dict[str, Any] = {
        "time": None if letter.time_ms is None else time_text(letter.time_ms),
        "reason": letter.reason,
        "size": letter.size,
        "letter_partition": letter.partition,
        "letter_offset": letter.offset,
    }
    if about is not None:
        for name in ("topic", "partition", "offset", "truncated", "republished_from"):
            fields[name] = getattr(about, name)
    if contents:
        return _json.encode(WholeLetterLine(**fields, key=letter.key, value=letter.value)).decode()
    return _json.encode(LetterLine(**fields)).decode()


class Summary:
    """How many letters there were of each topic and reason."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._num_truncated = 0

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self._counts[letter.topic or "unknown topic", letter.reason] += 1
        self._num_truncated += letter.about is not None and letter.about.truncated

    def text(self) -> str:
        """Return a line for each topic and reason, and the sum."""
        total = self._counts.total()
        lines = [f"{topic}: {why}: {n:,}" for (topic, why), n in sorted(self._counts.items())]
        truncated = f", {self._num_truncated:,} truncated" if self._num_truncated else ""
        return "\n".join([*lines, f"{letters(total)}{truncated}"])


def letters(count: int) -> str:
    """Say how many.

    >>> letters(1), letters(1200)
    ('1 letter', '1,200 letters')
    """
    return f"{count:,} letter" if count == 1 else f"{count:,} letters"


def time_text(time_ms: int | None) -> str:
    """Return RFC 3339 in UTC; what that cannot write, as milliseconds.

    >>> time_text(1_790_000_000_123), time_text(10**15), time_text(None)
    ('2026-09-21T14:13:20.123Z', '1000000000000000', '-')
    """
    if time_ms is None:
        return "-"
    if time_ms > MAX_RFC3339_MS:
        return str(time_ms)
    moment = from_ms(time_ms).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def escaped(raw: bytes) -> str:
    r"""Return bytes as text that no terminal takes for a command, and that can be read back.

    Bytes that are not UTF-8 become `\xff`, characters that do not print `\u{1b}`, `\` is doubled.

    >>> print(escaped(b'{"user": "a\\b"}\x1b[2J\xff') + escaped("\u202e ü 选".encode()))
    {"user": "a\\b"}\u{1b}[2J\xff\u{202e} ü 选
    """
    text = raw.replace(b"\\", b"\\\\").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
