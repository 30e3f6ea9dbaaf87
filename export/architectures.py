"""The architectures: what each trains, and the graphs it writes once they equal the network."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.averaging import to_tensors
from export.batches import ReferenceBatches, TwoStageBatches
from export.calibration import calibrate
from export.checkpoints import Checkpoints
from export.data import ReaderData
from export.encoders import build_encoder
from export.heads import LossWeights
from export.linear_fit import fit_linear
from export.linear_scores import LinearScores
from export.onnx_export import (
    ServedHead,
    ServedReader,
    check_graph,
    click_cases,
    describe_graph,
    export_article_encoder,
    export_profile_head,
    export_reader_model,
    token_cases,
)
from export.options import TrainingOptions
from export.prior import Prior
from export.quantize import quantize_encoder
from export.reference import READER_TOKENS, ReferenceModel
from export.spelling import spelling_of
from export.training import History, Schedule, Task, train
from export.two_stage import ArticleEncoder, CentredEncoder, ProfileHead, TwoStageModel
from schemas.bundle import (
    ARTICLE_ENCODER,
    PROFILE_HEAD,
    READER_MODEL,
    GraphSpec,
)

LEARNED_WIDTH = 64
"""Components of an article vector that the network learns, beside the linear scores."""

TWO_STAGE_SCHEDULE = Schedule(
    epochs=16,
    batch_readers=32,
    learning_rate=3e-3,
    encoder_pace=0.2,
    optimizer="adamw",
    weight_decay=0.01,
    patience=4,
    slow_down=True,
    averaging=0.98,
)
REFERENCE_SCHEDULE = Schedule(
    epochs=10, batch_readers=64, learning_rate=1e-3, optimizer="rmsprop", patience=3
)


@dataclass(frozen=True, eq=False)
class Run:
    """What every step of a run needs."""

    options: TrainingOptions
    data: ReaderData
    tokens: NDArray[np.int32]  # (A, T)
    max_clicks: int
    pieces: list[str]
    prior: Prior
    weights: LossWeights
    schedule: Schedule
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True, eq=False)
class Exported:
    """What training and export of one architecture gave."""

    graphs: dict[str, GraphSpec]
    differences: dict[str, float]
    row_width: int
    reader_tokens: int | None
    history: History
    parameters: int
    calibration: dict[str, Any]


def train_two_stage(run: Run, directory: Path) -> Exported:
    """Fit the linear path, train encoder and profile head together, calibrate; write two graphs."""
    options = run.options
    limit = run.max_clicks
    started = time.monotonic()
    linear = fit_linear(
        run.data, run.tokens, spelling_of(run.pieces), limit, options.seed, options.learns_valid
    )
    fitting_seconds = time.monotonic() - started
    schedule = run.schedule
    if schedule.max_seconds is not None:
        left = schedule.max_seconds - fitting_seconds
        schedule = replace(schedule, max_seconds=max(1.0, left))
    encoder = build_encoder(options.encoder, len(run.pieces), LEARNED_WIDTH)
    scores = LinearScores(linear)
    model = TwoStageModel(
        ArticleEncoder(scores, CentredEncoder(encoder, LEARNED_WIDTH)),
        ProfileHead(scores.width, LEARNED_WIDTH, run.prior),
    )
    batches = TwoStageBatches(run.data, run.tokens, limit, linear)
    task = Task(run.data, batches, run.prior, run.weights, "distribution", options.balance)
    history = train(model, task, schedule, run.checkpoints)
    history.seconds = round(history.seconds + fitting_seconds, 2)
    calibration = calibrate(model, task)
    served = ServedHead(model.head, run.prior, calibration).eval()
    width = scores.width + LEARNED_WIDTH
    encoder_path = directory / f"{ARTICLE_ENCODER}.onnx"
    head_path = directory / f"{PROFILE_HEAD}.onnx"
    graphs = {
        ARTICLE_ENCODER: export_article_encoder(model.articles, run.tokens.shape[1], encoder_path),
        PROFILE_HEAD: export_profile_head(served, width, head_path),
    }
    with torch.inference_mode():
        vectors = model.articles(torch.from_numpy(run.tokens[:256])).numpy()
    cases = token_cases(run.tokens, len(run.pieces), options.seed)
    differences = {
        ARTICLE_ENCODER: check_graph(encoder_path, model.articles, cases),
        PROFILE_HEAD: check_graph(head_path, served, click_cases(vectors, limit, options.seed)),
    }
    if options.int8:
        similarity = quantize_encoder(encoder_path, encoder_path, run.tokens)
        differences["int8 cosine"] = similarity
        graphs[ARTICLE_ENCODER] = describe_graph(encoder_path)
    return Exported(
        graphs=graphs,
        differences=differences,
        row_width=width,
        reader_tokens=None,
        history=history,
        parameters=sum(weight.numel() for weight in model.parameters())
        + linear.weights.size
        + linear.whole_weights.size,
        calibration=asdict(calibration),
    )


def train_reference(run: Run, directory: Path) -> Exported:
    """Train the reference network; write its one graph."""
    model = ReferenceModel(len(run.pieces), run.prior)
    batches = ReferenceBatches(run.data, run.tokens, run.max_clicks, READER_TOKENS)
    task = Task(run.data, batches, run.prior, run.weights, "squared", run.options.balance)
    history = train(model, task, run.schedule, run.checkpoints)
    served = ServedReader(model, _age_error(model, task)).eval()
    path = directory / f"{READER_MODEL}.onnx"
    graphs = {READER_MODEL: export_reader_model(served, READER_TOKENS, path)}
    (rows,) = batches.newest(np.arange(min(256, len(run.data.user_ids))))
    cases = token_cases(rows.astype(np.int32), len(run.pieces), run.options.seed)
    return Exported(
        graphs=graphs,
        differences={READER_MODEL: check_graph(path, served, cases)},
        row_width=run.tokens.shape[1],
        reader_tokens=READER_TOKENS,
        history=history,
        parameters=sum(weight.numel() for weight in model.parameters()),
        calibration={"age_sd_years": served.age_sd_years},
    )


ARCHITECTURES: dict[str, Callable[[Run, Path], Exported]] = {
    "two-stage": train_two_stage,
    "reference": train_reference,
}


def _age_error(model: nn.Module, task: Task) -> float:
    """Return the root mean squared error of age on valid, in years; without one, the prior's sd."""
    readers = task.data.readers_of("valid")
    readers = readers[~np.isnan(task.data.age[readers])]
    if len(readers) == 0:
        return task.prior.age_sd
    squares = []
    with torch.inference_mode():
        for part in np.array_split(readers, -(-len(readers) // 64)):
            years = model(*to_tensors(task.batches.newest(part), torch.device("cpu"))).age.numpy()
            squares.append((years - task.data.age[part]) ** 2)
    return max(float(np.sqrt(np.concatenate(squares).mean())), 1.0)
