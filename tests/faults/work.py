"""See that workers work: every stored click leaves an entry on the click log."""

from schemas import keys
from tests.e2e.installation import Installation, wait_until
from worker.local.server import RunningServer


def newest_entry(site: Installation) -> object:
    """Return the id of the newest entry of the click log."""
    found = site.redis.xrevrange(keys.CLICK_LOG, count=1)
    return found[0][0] if found else None


def wait_for_work(site: Installation, worker: RunningServer, timeout_s: float = 90.0) -> None:
    """Wait until more clicks are stored, by whatever worker; no longer than this one lives."""
    before = newest_entry(site)

    def has_worked() -> bool:
        assert worker.is_alive(), f"{worker.name} ended"
        return newest_entry(site) != before

    wait_until("stored clicks", has_worked, timeout_s)


def num_entries(site: Installation) -> int:
    """Return how many entries the click log has, which nobody cuts within a test."""
    return int(site.redis.xlen(keys.CLICK_LOG))
