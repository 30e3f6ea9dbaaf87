"""The architectures: what each trains, and the graphs it writes once they equal the network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.averaging import to_tensors
from export.batches import ReferenceBatches, TwoStageBatches
from export.checkpoints import Checkpoints
from export.data import ReaderData
from export.encoders import build_encoder
from export.heads import LossWeights
from export.onnx_export import (
    ServedHead,
    ServedReader,
    check_graph,
    click_cases,
    export_article_encoder,
    export_profile_head,
    export_reader_model,
    token_cases,
)
from export.options import TrainingOptions
from export.prior import Prior
from export.reference import READER_TOKENS, ReferenceModel
from export.training import History, Schedule, Task, train
from export.two_stage import ArticleEncoder, ProfileHead, TwoStageModel
from schemas.bundle import (
    ARTICLE_ENCODER,
    PROFILE_HEAD,
    READER_MODEL,
    GraphSpec,
)

VECTOR_WIDTH = 128

TWO_STAGE_SCHEDULE = Schedule(
    epochs=12,
    batch_readers=64,
    learning_rate=2e-3,
    optimizer="adamw",
    weight_decay=0.01,
    patience=4,
    slow_down=True,
    averaging=0.9,
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
    vocabulary_size: int
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


def train_two_stage(run: Run, directory: Path) -> Exported:
    """Train the article encoder and the profile head together; write two graphs."""
    encoder = build_encoder(run.options.encoder, run.vocabulary_size, VECTOR_WIDTH)
    model = TwoStageModel(
        ArticleEncoder(encoder, VECTOR_WIDTH), ProfileHead(VECTOR_WIDTH, run.prior)
    )
    batches = TwoStageBatches(run.data, run.tokens, run.options.max_clicks)
    task = Task(run.data, batches, run.prior, run.weights, "likelihood")
    history = train(model, task, run.schedule, run.checkpoints)
    served = ServedHead(model.head, run.prior).eval()
    encoder_path = directory / f"{ARTICLE_ENCODER}.onnx"
    head_path = directory / f"{PROFILE_HEAD}.onnx"
    graphs = {
        ARTICLE_ENCODER: export_article_encoder(
            model.articles, run.options.article_tokens, encoder_path
        ),
        PROFILE_HEAD: export_profile_head(served, VECTOR_WIDTH, head_path),
    }
    with torch.inference_mode():
        vectors = model.articles(torch.from_numpy(run.tokens[:256])).numpy()
    seed = run.options.seed
    return Exported(
        graphs=graphs,
        differences={
            ARTICLE_ENCODER: check_graph(
                encoder_path, model.articles, token_cases(run.tokens, run.vocabulary_size, seed)
            ),
            PROFILE_HEAD: check_graph(
                head_path, served, click_cases(vectors, run.options.max_clicks, seed)
            ),
        },
        row_width=VECTOR_WIDTH,
        reader_tokens=None,
        history=history,
    )


def train_reference(run: Run, directory: Path) -> Exported:
    """Train the reference network; write its one graph."""
    model = ReferenceModel(run.vocabulary_size, run.prior)
    batches = ReferenceBatches(run.data, run.tokens, run.options.max_clicks, READER_TOKENS)
    task = Task(run.data, batches, run.prior, run.weights, "squared")
    history = train(model, task, run.schedule, run.checkpoints)
    served = ServedReader(model, _age_error(model, task)).eval()
    path = directory / f"{READER_MODEL}.onnx"
    graphs = {READER_MODEL: export_reader_model(served, READER_TOKENS, path)}
    (rows,) = batches.newest(np.arange(min(256, len(run.data.user_ids))))
    cases = token_cases(rows.astype(np.int32), run.vocabulary_size, run.options.seed)
    return Exported(
        graphs=graphs,
        differences={READER_MODEL: check_graph(path, served, cases)},
        row_width=run.options.article_tokens,
        reader_tokens=READER_TOKENS,
        history=history,
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
