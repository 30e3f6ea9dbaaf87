"""Token buckets: as many requests as the rate and the burst allow, to each client its own."""

from fractions import Fraction

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from worker.serve.rates import MAX_CLIENTS, Buckets, client_of


class Clock:
    """Time that passes when told to."""

    def __init__(self, now: float = 100_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# Powers of two: sums of them are exact, and so is what is expected.
RATES = st.sampled_from([0.25, 1.0, 8.0, 512.0])
BURSTS = st.sampled_from([1.0, 1.5, 2.0, 16.0])
PAUSES = st.lists(st.tuples(st.integers(0, 64), st.sampled_from("ab")), max_size=60)


@given(RATES, BURSTS, PAUSES)
def test_it_does_what_counted_tokens_would(
    rate: float, burst: float, asked: list[tuple[int, str]]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    tokens = dict.fromkeys("ab", Fraction(burst))
    for sixteenths, client in asked:
        pause = sixteenths / 16 / rate
        clock.now += pause
        for each in tokens:
            tokens[each] = min(Fraction(burst), tokens[each] + Fraction(pause) * Fraction(rate))
        wait_s = buckets.take(client)
        if tokens[client] >= 1:
            assert wait_s == 0.0
            tokens[client] -= 1
        else:
            assert wait_s == float((1 - tokens[client]) / Fraction(rate))


@given(st.floats(0.01, 1e6), st.floats(1.0, 1e6), st.lists(st.floats(0.0, 10.0), max_size=200))
def test_never_more_than_the_rate_and_the_burst_and_who_waits_is_let_through(
    rate: float, burst: float, pauses: list[float]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    taken: list[float] = []
    for pause in pauses:
        clock.now += pause / rate
        wait_s = buckets.take("a")
        if wait_s:
            assert wait_s <= 1.0001 / rate + 1e-6
            clock.now += wait_s
            assert buckets.take("a") == 0.0
        taken.append(clock.now)
        for number, since in enumerate(taken):
            most = burst + rate * (clock.now - since) + 1e-3 + 1e-6 * rate
            assert len(taken) - number <= most


def test_many_clients_take_bounded_memory_and_none_is_refused_for_it() -> None:
    buckets = Buckets(1.0, 1.0, Clock(), max_clients=3)
    assert [buckets.take(each) for each in "abc"] == [0.0] * 3
    assert buckets.take("a") == 1.0  # refused, and so the latest to be seen
    assert buckets.take("d") == 0.0
    assert len(buckets) == 3
    assert buckets.take("a") == 1.0
    assert buckets.take("b") == 0.0  # was forgotten
    assert len(buckets) == 3
    assert MAX_CLIENTS <= 100_000


@pytest.mark.parametrize(
    ("forwarded", "num_proxies", "client"),
    [
        ((), 0, "192.0.2.1"),
        (("198.51.100.7",), 0, "192.0.2.1"),
        (("198.51.100.7",), 1, "198.51.100.7"),
        (("203.0.113.9, 198.51.100.7",), 1, "198.51.100.7"),
        (("203.0.113.9", "198.51.100.7"), 1, "198.51.100.7"),
        (("203.0.113.9, 198.51.100.7",), 2, "203.0.113.9"),
        (("2001:db8::1",), 1, "2001:db8::"),
        ((), 1, "192.0.2.1"),
        (("198.51.100.7",), 2, "192.0.2.1"),
        (("unknown",), 1, "192.0.2.1"),
        (("x" * 5000,), 1, "192.0.2.1"),
    ],
)
def test_a_client_is_who_connects_or_whom_trusted_proxies_name(
    forwarded: tuple[str, ...], num_proxies: int, client: str
) -> None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    request: web.Request = make_mocked_request("POST", "/v1/clicks", headers=headers)
    assert client_of(request.clone(remote="192.0.2.1"), num_proxies) == client
