"""The arithmetic of `plan.md`: from measured costs of a click to what a stream of clicks needs."""

import math
from typing import NamedTuple

CLICKS_PER_S = 1_000_000
READERS = 100_000_000


class Figure(NamedTuple):
    """A number, and where it is from."""

    value: float
    unit: str
    source: str


MEASURED = {
    "own": Figure(134, "µs CPU", "a click in batches of 2,000, statistics and all"),
    "count": Figure(
        5.6, "µs CPU", "of it: counting a click, which every worker does of everybody's"
    ),
    "readers": Figure(1.21, "×", "100,000 readers in place of 10,000, batches of 2,000"),
    "shared": Figure(1.075, "×", "two workers in place of one: 107.0 to 99.5 µs"),
    "redis": Figure(16.1, "µs CPU", "of Redis for a click"),
    "reader_bytes": Figure(5_160, "B", "of a reader in Redis: page, profile, 32 clicks"),
    "page_bytes": Figure(3_900, "B", "of a page, as sent and as stored"),
    "profile_bytes": Figure(600, "B", "of a profile, as sent and as stored"),
    "worker_mb": Figure(614, "MB", "of a worker at its peak, with 100,000 articles"),
}
"""From docs/benchmarks.md."""

ASSUMED = {
    "busy": Figure(0.6, "", "share of a core that is planned with; the rest is for peaks"),
    "click_bytes": Figure(120, "B", "of a click on its topic, with key and overhead"),
    "log_bytes": Figure(
        300, "B", "of a click on the click log, by its layout with 16 clicks before"
    ),
    "copies": Figure(3, "", "of each Kafka message"),
    "mean": Figure(0.4, "", "mean rate by the peak, over a day"),
    "fragmentation": Figure(1.5, "×", "memory of Redis by what its keys take"),
    "vcpu_hour": Figure(0.04, "$", "for one vCPU an hour; put in your price"),
    "gb_hour": Figure(0.005, "$", "for one GB of memory an hour; put in your price"),
}
"""Not measured."""


class Cell(NamedTuple):
    """One of several like installations: its workers count its own clicks only."""

    clicks_per_s: float
    num_cells: int
    workers: int
    log_mb_per_s: float

    @property
    def all_workers(self) -> int:
        """Count the workers of all cells."""
        return self.workers * self.num_cells


def cell_of(clicks_per_s: float, total: float = CLICKS_PER_S) -> Cell | None:
    """Return what a cell of so many clicks a second needs; None where no number of workers will do.

    A worker of W processes clicks/W and counts all clicks: so many of them that nothing is left at
    some rate, however many workers there are.
    """
    count = MEASURED["count"].value
    own = (MEASURED["own"].value - count) * MEASURED["readers"].value * MEASURED["shared"].value
    left = 1e6 * ASSUMED["busy"].value - clicks_per_s * count
    if left <= 0:
        return None
    workers = math.ceil(clicks_per_s * own / left)
    log = clicks_per_s * ASSUMED["log_bytes"].value * workers / 1e6
    return Cell(clicks_per_s, math.ceil(total / clicks_per_s), workers, log)


def wall() -> float:
    """Return the clicks a second at which a worker does nothing but count."""
    return 1e6 * ASSUMED["busy"].value / MEASURED["count"].value


def tables() -> str:
    """Return the tables of the page."""
    return "\n\n".join((_figures(), _cells(), _plan()))


def _figures() -> str:
    lines = ["| measured | | |", "|---|--:|---|"]
    lines += [
        f"| {name} | {fig.value:,g} {fig.unit} | {fig.source} |" for name, fig in MEASURED.items()
    ]
    lines += ["", "| assumed | | |", "|---|--:|---|"]
    lines += [
        f"| {name} | {fig.value:,g} {fig.unit} | {fig.source} |" for name, fig in ASSUMED.items()
    ]
    return "\n".join(lines)


def _cells() -> str:
    lines = [
        f"| clicks/s of a cell | cells for {CLICKS_PER_S:,} | workers a cell | workers in all "
        "| read from its log, MB/s |",
        "|--:|--:|--:|--:|--:|",
    ]
    for rate in (10_000, 25_000, 50_000, 75_000, 100_000, 125_000):
        found = cell_of(rate)
        if found is None:
            lines.append(f"| {rate:,} | - | not possible | | |")
            continue
        lines.append(
            f"| {rate:,} | {found.num_cells} | {found.workers} | {found.all_workers:,} "
            f"| {found.log_mb_per_s:,.0f} |"
        )
    lines.append(f"| {wall():,.0f} | - | the wall: nothing is left but counting | | |")
    return "\n".join(lines)


def _plan(rate: float = 25_000) -> str:
    found = cell_of(rate)
    assert found is not None
    busy, copies = ASSUMED["busy"].value, ASSUMED["copies"].value
    partitions = 2 * found.workers
    redis_cores = rate * MEASURED["redis"].value / 1e6
    readers = READERS / found.num_cells
    held_gb = readers * MEASURED["reader_bytes"].value * ASSUMED["fragmentation"].value / 1e9
    shards = max(math.ceil(redis_cores / busy), math.ceil(held_gb / 25))
    sent = MEASURED["page_bytes"].value + MEASURED["profile_bytes"].value
    clicks_in = CLICKS_PER_S * ASSUMED["click_bytes"].value / 1e6
    out = CLICKS_PER_S * sent / 1e6
    day_tb = (clicks_in + out) * ASSUMED["mean"].value * 86_400 * copies / 1e6
    worker_gb = found.all_workers * MEASURED["worker_mb"].value / 1000
    vcpus = found.all_workers + found.num_cells * 2 * shards
    memory = worker_gb + 2 * held_gb * found.num_cells
    cost = vcpus * ASSUMED["vcpu_hour"].value + memory * ASSUMED["gb_hour"].value
    rows = {
        "cells": f"{found.num_cells}",
        "workers, one vCPU each": f"{found.workers} a cell, {found.all_workers:,} in all",
        "partitions of `clicks`": f"{partitions} a cell: twice the workers",
        "CPU of Redis": f"{redis_cores:.2f} of a core a cell",
        f"memory of Redis, {READERS:,} readers": f"{held_gb:,.1f} GB a cell",
        "shards of Redis": f"{shards} a cell, with replicas {2 * shards * found.num_cells} nodes",
        "Kafka, clicks in": f"{clicks_in:,.0f} MB/s",
        "Kafka, pages and profiles": f"{out:,.0f} MB/s, not compressed, a page for each click",
        "between brokers": f"{(clicks_in + out) * (copies - 1):,.0f} MB/s",
        "to Redis": f"{out:,.0f} MB/s, and as much to its replicas",
        "Kafka on disk": f"{day_tb:,.0f} TB a day kept, at the mean rate, {copies:g} copies",
        "workers and Redis": f"{vcpus:,} vCPU, {memory:,.0f} GB: {cost:,.0f} $ an hour",
    }
    lines = [f"| for {CLICKS_PER_S:,} clicks/s | |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])
