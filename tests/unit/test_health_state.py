"""When a worker says that it lives, and that it is ready."""

from worker.health_state import HealthState, Verdict


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_messages_that_wait_too_long_without_progress_are_a_stall() -> None:
    clock = Clock()
    state = HealthState(60.0, clock)
    clock.now += 60
    assert state.is_live(5, True).is_well
    clock.now += 1
    assert state.is_live(5, True) == Verdict(False, "stalled")
    state.stored("clicks")
    assert state.is_live(5, True) == Verdict(True, "live")


def test_nothing_to_do_is_no_stall_and_time_counts_from_when_something_came() -> None:
    clock = Clock()
    state = HealthState(60.0, clock)
    clock.now += 10_000
    assert state.is_live(0, True).is_well
    clock.now += 59
    assert state.is_live(1, True).is_well
    clock.now += 2
    assert not state.is_live(1, True).is_well


def test_who_waits_for_a_service_is_alive_and_says_so() -> None:
    clock = Clock()
    state = HealthState(60.0, clock)
    state.tries_again("clicks", "redis")
    state.tries_again("visits", "kafka")
    clock.now += 10_000
    assert state.is_live(1, True) == Verdict(True, "waiting", ("kafka", "redis"))
    state.stored("visits")
    clock.now += 61
    assert state.is_live(1, True) == Verdict(True, "waiting", ("redis",))
    state.stored("clicks")
    clock.now += 61
    assert not state.is_live(1, True).is_well
    assert state.is_live(1, False) == Verdict(True, "waiting", ("kafka",))


def test_ready_is_who_has_catalogue_and_partitions_and_does_not_stop() -> None:
    state = HealthState(60.0)
    assert state.is_ready() == Verdict(False, "not ready", ("catalogue", "partitions"))
    state.has_catalogue = True
    assert state.is_ready() == Verdict(False, "not ready", ("partitions",))
    state.has_partitions = True
    assert state.is_ready() == Verdict(True, "ready")
    state.is_stopping = True
    assert not state.is_ready().is_well
