"""Clicks of a request: those that may be published, and why the others may not."""

from typing import NamedTuple

import msgspec

from schemas.decode import decode_click
from schemas.errors import InvalidMessageError
from schemas.records import Click
from worker.serve.problems import Kind, ProblemError
from worker.serve.records import BadItem

_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])


class SortedClicks(NamedTuple):
    """What a request holds."""

    good: list[tuple[str, bytes]]
    """Reader and message, as it came."""
    num_skipped: int
    """Without consent."""
    errors: list[BadItem]


def sort_clicks(body: bytes, now_ms: int) -> SortedClicks:
    """Sort a click, or an array of clicks, by whether a worker would take them.

    >>> sort_clicks(b'{"user_id":"42","article_id":"a17"}', 0).errors[0].reason
    'invalid'

    Raises:
        ProblemError: when the body is not JSON.
    """
    found = SortedClicks([], 0, [])
    num_skipped = 0
    for index, raw in enumerate(_items(body)):
        message = bytes(raw)
        try:
            click = decode_click(message, now_ms)
        except InvalidMessageError as error:
            bad = BadItem(index=index, reason=error.reason, detail=error.detail)
            found.errors.append(bad)
            continue
        if not isinstance(click, Click):
            found.errors.append(BadItem(index=index, reason="invalid", detail="not a click"))
        elif not click.consent:
            num_skipped += 1
        else:
            found.good.append((click.user_id, message))
    return found._replace(num_skipped=num_skipped)


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        if body.lstrip().startswith(b"["):
            return _raws_decoder.decode(body)
        return [_raw_decoder.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(Kind.INVALID_REQUEST, "not JSON in UTF-8") from error
