"""The subcommand that measures recommendations on a reading set."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import click
from tqdm import tqdm

from schemas.bundle import load_manifest
from schemas.errors import FrontpageError
from schemas.reading_set import ReadingSet
from worker.stream_evaluation.measure import (
    PROTOCOLS,
    Measured,
    ProtocolName,
    known_at_split,
    measure,
)
from worker.stream_evaluation.protocol import LoadedStream, StreamRecommender, load_stream

_existing_directory = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("dataset", type=_existing_directory)
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default="prequential",
    show_default=True,
    help="Rank before every click, each reader's last one, or after nine tenths of the clicks.",
)
@click.option("--bundle", type=_existing_directory, help="Infer profiles and compare texts.")
@click.option(
    "--shuffle-within-reader",
    type=int,
    metavar="SEED",
    help="Put each reader's articles in random order among the reader's clicks.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many clicks.")
@click.option(
    "--ablations/--no-ablations",
    "with_ablations",
    default=False,
    help="Measure the model without each source, and with true and shuffled attributes, too.",
)
@click.option("--live", is_flag=True, help="The model's figures from a worker, Kafka and Redis.")
@click.option(
    "--configured-kafka",
    is_flag=True,
    help="With --live: on the brokers of FRONTPAGE_KAFKA_…, in topics of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw ndcg@10 over time as a PNG.",
)
def evaluate_stream(
    dataset: Path,
    protocol: str,
    bundle: Path | None,
    shuffle_within_reader: int | None,
    limit: int | None,
    with_ablations: bool,
    live: bool,
    configured_kafka: bool,
    as_json: bool,
    plot_file: Path | None,
) -> None:
    """Measure recommendations on a reading set, beside baselines: every click before it is learned.

    Without --bundle nothing is inferred of readers. With --live a worker
    of its own does the same as is done without: the figures are equal, but for impressions, which
    are left out.
    """
    # Imported here: everything of the worker that ranks comes with the model.
    from worker.stream_evaluation.attributes import ATTRIBUTES, ToldAttributes
    from worker.stream_evaluation.baselines import baselines_of
    from worker.stream_evaluation.model import ABLATIONS, build_recommender
    from worker.stream_evaluation.plot import plot
    from worker.stream_evaluation.report import as_document
    from worker.stream_evaluation.table import as_table

    name = cast(ProtocolName, protocol)
    if plot_file is not None and name != "prequential":
        raise click.UsageError("--plot draws the prequential protocol, which goes over time")
    if live:
        _check_live(name, bundle, with_ablations)
    elif configured_kafka:
        raise click.UsageError("--configured-kafka is for --live")
    reading_set = ReadingSet(dataset)
    stream = load_stream(reading_set, limit=limit, shuffle_within_reader=shuffle_within_reader)
    if stream.num_clicks == 0:
        raise FrontpageError(f"{dataset}: no clicks to measure on")
    if stream.num_left_out:
        click.echo(f"{stream.num_left_out:,} clicks left out: no such article", err=True)
    if live and stream.impressions:
        click.echo(f"{len(stream.impressions):,} impressions left out: --live has none", err=True)
        stream = replace(stream, impressions=())
    if name == "time-split":
        stream = known_at_split(stream)

    told: dict[str, ToldAttributes] = {}
    if with_ablations:
        # Before anything is measured: what does not fit is said at once.
        told = {
            each: ToldAttributes(stream, reading_set, shuffled=each == "shuffled attributes")
            for each in ATTRIBUTES
        }
        if bundle is not None and any(told.values()):
            num_groups = len(load_manifest(bundle).income_groups)
            if num_groups != reading_set.info.num_income_groups:
                raise FrontpageError(
                    f"{bundle} has {num_groups} income groups, {dataset} "
                    f"{reading_set.info.num_income_groups}: leave one of them out"
                )

    def model(without: str | None = None, told: ToldAttributes | None = None) -> StreamRecommender:
        return build_recommender(stream, bundle, without, told)

    if live:
        assert bundle is not None
        whole = _measured_live(stream, bundle, configured_kafka)
    else:
        whole = _measured(stream, model, name, "model")
    baselines = {
        each: _measured(stream, build, name, each) for each, build in baselines_of(stream).items()
    }
    ablations = {
        source: _measured(stream, partial(model, source), name, f"without {source}")
        for source in (ABLATIONS if with_ablations else ())
    }
    for attributes, known in told.items():
        if known:
            with_known = partial(model, None, known)
            ablations[attributes] = _measured(stream, with_known, name, f"with {attributes}")
    document = as_document(stream.name, name, whole, baselines, ablations)
    if plot_file is not None:
        plot(document, plot_file)
    click.echo(json.dumps(document) if as_json else as_table(document))


def _check_live(protocol: ProtocolName, bundle: Path | None, with_ablations: bool) -> None:
    if bundle is None:
        raise click.UsageError("--live needs --bundle: a worker does not run without a model")
    if protocol != "prequential":
        raise click.UsageError("--live has the prequential protocol only")
    if with_ablations:
        raise click.UsageError("--live has no --ablations: measure those without it")


def _measured_live(stream: LoadedStream, bundle: Path, configured_kafka: bool) -> Measured:
    from worker.settings import read_settings
    from worker.stream_evaluation.live import live_recommender
    from worker.stream_evaluation.live_services import stopped_like_ctrl_c

    kafka = read_settings(os.environ) if configured_kafka else None
    with stopped_like_ctrl_c(), live_recommender(stream, bundle, kafka) as recommender:
        return _measured(stream, lambda: recommender, "prequential", "model, live")


def _measured(
    stream: LoadedStream,
    build: Callable[[], StreamRecommender],
    protocol: ProtocolName,
    description: str,
) -> Measured:
    with tqdm(
        total=stream.num_clicks, desc=description, unit=" clicks", file=sys.stderr, leave=False
    ) as bar:
        return measure(stream, build(), protocol, bar.update)
