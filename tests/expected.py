"""What a stream must come to: histories computed from the reading set alone, without the worker."""

from collections import defaultdict
from collections.abc import Iterable

from schemas.history import article_ref, pack_entry, seal
from schemas.records import Click
from schemas.timestamps import to_ms


def histories(clicks: Iterable[Click], size: int) -> dict[str, bytes]:
    """Return each reader's history, by sorting: the definition, not the worker's merge."""
    entries: dict[str, set[bytes]] = defaultdict(set)
    for click in clicks:
        entry = pack_entry(to_ms(click.timestamp), click.event_id, article_ref(click.article_id))
        entries[click.user_id].add(entry)
    return {
        user_id: seal(b"".join(sorted(found, reverse=True)[:size]))
        for user_id, found in entries.items()
    }
