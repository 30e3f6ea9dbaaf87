"""Every article encoder, in torch, in onnxruntime and in 8 bits: one set of checks for all."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.encoders import ENCODERS, build_encoder
from export.encoders.conv1d import Conv1DEncoder
from export.encoders.inception import InceptionEncoder, InceptionModule
from export.encoders.residual import ResidualBlock, ResidualEncoder
from export.onnx_export import TOLERANCE, check_graph, export_article_encoder, token_cases
from export.quantize import cosine, quantize_encoder
from export.two_stage import ArticleEncoder
from schemas.errors import BundleError, TrainingError
from tests.small_networks import article_encoder, made_up_fit

WORDS, WIDTH, TOKENS = 300, 32, 24


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(request.param, WORDS, WIDTH).eval()


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(TrainingError, match="no encoder 'lstm'; there are: conv1d"):
        build_encoder("lstm", 10, 8)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 33])
def test_the_vector_of_a_text_does_not_depend_on_its_padding(
    encoder: nn.Module, length: int
) -> None:
    tokens = torch.randint(1, WORDS, (3, length))
    vectors = encoder(tokens)
    assert (vectors.shape, vectors.dtype) == ((3, WIDTH), torch.float32)
    for more in (1, 2, 3, 40):
        padded = torch.cat([tokens, torch.zeros(3, more, dtype=torch.int64)], 1)
        torch.testing.assert_close(encoder(padded), vectors, atol=1e-6, rtol=0.0)


def test_the_vector_of_a_text_does_not_depend_on_the_batch(encoder: nn.Module) -> None:
    tokens = torch.randint(0, WORDS, (6, TOKENS))
    torch.testing.assert_close(encoder(tokens)[2:3], encoder(tokens[2:3]), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("length", [1, 9])
def test_a_text_without_pieces_is_zero(encoder: nn.Module, length: int) -> None:
    assert not encoder(torch.zeros(2, length, dtype=torch.int64)).any()


def test_texts_that_share_a_batch_with_an_empty_one_train(encoder: nn.Module) -> None:
    encoder.train()
    tokens = torch.randint(1, WORDS, (64, TOKENS))
    tokens[0] = 0
    (encoder(tokens) * torch.randn(64, WIDTH)).sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_seed_makes_the_encoder_and_what_it_learns(name: str) -> None:
    one, other = _fit(name, steps=3)[1], _fit(name, steps=3)[1]
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"bag"}))
def test_an_encoder_learns_the_order_of_words(name: str) -> None:
    """The bag cannot: both classes hold the same pieces."""
    assert _fit(name, steps=100)[0] < 0.3


@pytest.mark.parametrize("kind", [Conv1DEncoder, InceptionEncoder, ResidualEncoder])
def test_the_wide_path_can_be_left_out(
    kind: type[Conv1DEncoder | InceptionEncoder | ResidualEncoder],
) -> None:
    encoder = kind(WORDS, WIDTH, wide=False).eval()
    assert not any(name.startswith("bag") for name, _ in encoder.named_parameters())
    assert encoder(torch.randint(0, WORDS, (2, TOKENS))).shape == (2, WIDTH)


def test_a_branch_averages_only_real_positions() -> None:
    module = InceptionModule(4, 8).eval()
    seen: list[Tensor] = []
    module.three.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.ones(1, 4, 6)
    x[:, :, 3:] = 0.0
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]])
    module(x, mask)
    torch.testing.assert_close(seen[0][0, 0], torch.tensor([1.0, 1.0, 0.0]))


def test_the_shortcut_is_the_input_where_shapes_agree() -> None:
    assert ResidualBlock(8, 8, 1).projection is None
    for channels, stride in ((4, 1), (8, 2)):
        projection = ResidualBlock(channels, 8, stride).projection
        assert projection is not None
        assert projection.layer.kernel_size == (1,)
        assert projection.layer.stride == (stride,)
    block = ResidualBlock(8, 8, 1)
    nn.init.zeros_(block.third.layer.weight)
    x = torch.rand(2, 8, 5)
    torch.testing.assert_close(block(x, torch.ones(2, 1, 5)), x)


@pytest.fixture(scope="module", params=sorted(ENCODERS))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ArticleEncoder, Path]:
    torch.manual_seed(0)
    encoder = article_encoder(made_up_fit(WORDS), request.param, WIDTH, WORDS)
    encoder.learned(torch.from_numpy(_tokens(256)))  # gives the centring mean and variance
    path = tmp_path_factory.mktemp("graph") / "article_encoder.onnx"
    export_article_encoder(encoder.eval(), TOKENS, path)
    return encoder, path


def test_the_graph_equals_the_encoder(exported: tuple[ArticleEncoder, Path]) -> None:
    encoder, path = exported
    cases = token_cases(_tokens(100), WORDS, 0)
    assert check_graph(path, encoder, cases) <= TOLERANCE


@pytest.mark.parametrize("length", [TOKENS, 23])
def test_the_vector_of_a_text_does_not_depend_on_its_place(length: int, tmp_path: Path) -> None:
    """To the bit, as the worker promises; of any length, so that rows begin anywhere in memory."""
    torch.manual_seed(0)
    encoder = article_encoder(made_up_fit(WORDS), "conv1d", WIDTH, WORDS).eval()
    path = tmp_path / "encoder.onnx"
    export_article_encoder(encoder, length, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for _ in range(20):
        tokens = rng.integers(1, WORDS, (16, length), dtype=np.int32)
        tokens[::3] = tokens[0]
        (vectors,) = session.run(None, {"tokens": tokens})
        np.testing.assert_array_equal(vectors[::3], np.repeat(vectors[:1], 6, 0))


def test_an_int8_graph_is_smaller_alike_and_the_same_each_time(
    exported: tuple[ArticleEncoder, Path], tmp_path: Path
) -> None:
    path, tokens = exported[1], _tokens(200)
    out, again = tmp_path / "int8.onnx", tmp_path / "again.onnx"
    again.write_bytes(path.read_bytes())
    assert quantize_encoder(path, out, tokens) >= 0.99
    quantize_encoder(again, again, tokens)  # in place
    assert out.read_bytes() == again.read_bytes()
    sizes = [sum(_table_bytes(file)) for file in (path, out)]
    assert sizes[1] < 0.3 * sizes[0]
    assert _interface(out) == _interface(path)


def test_an_int8_vector_does_not_depend_on_the_batch(
    exported: tuple[ArticleEncoder, Path], tmp_path: Path
) -> None:
    out, tokens = tmp_path / "int8.onnx", _tokens(64)
    quantize_encoder(exported[1], out, tokens)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (together,) = session.run(None, {"tokens": tokens})
    others = np.concatenate([tokens[:1], np.full((63, TOKENS), 7, dtype=np.int32)])
    (beside,) = session.run(None, {"tokens": others})
    np.testing.assert_array_equal(beside[0], together[0])


def test_int8_vectors_that_are_too_different_are_refused(
    exported: tuple[ArticleEncoder, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.quantize.MIN_COSINE", 1.01)
    with pytest.raises(BundleError, match="cosine similarity"):
        quantize_encoder(exported[1], tmp_path / "int8.onnx", _tokens(64))


def test_cosine_of_rows() -> None:
    one = np.array([[1, 0], [0, 0], [1, 1], [0, 0]], dtype=np.float32)
    other = np.array([[2, 0], [0, 0], [-1, 1], [1, 0]], dtype=np.float32)
    assert cosine(one, other).tolist() == [1.0, 1.0, 0.0, 0.0]


def _fit(name: str, *, steps: int) -> tuple[float, dict[str, Tensor]]:
    """Learn whether a rising pair of pieces stands in the text; return last loss and weights."""
    torch.manual_seed(3)
    model = nn.Sequential(build_encoder(name, 12, WIDTH), nn.Linear(WIDTH, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        tokens = np.array([rng.permutation(np.arange(1, 9)) for _ in range(64)])
        rising = np.arange(64) % 2
        # Piece 9 and 10 stand next to each other, in the order the label says.
        pair = np.where(rising[:, None] == 1, [[9, 10]], [[10, 9]])
        batch = torch.from_numpy(np.concatenate([tokens[:, :4], pair, tokens[:, 4:]], 1))
        wanted = torch.from_numpy(rising).float()
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch)[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-10:])), dict(model.state_dict())


def _tokens(num: int) -> NDArray[np.int32]:
    """Make texts of different lengths."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, WORDS, (num, TOKENS), dtype=np.int32)
    return tokens * (np.arange(TOKENS) < rng.integers(1, TOKENS + 1, (num, 1)))


def _table_bytes(path: Path) -> list[int]:
    """Return the sizes of the tables that 8 bits are for; narrow ones keep their precision."""
    tables = onnx.load(path).graph.initializer
    return [len(t.raw_data) for t in tables if len(t.dims) > 1 and t.dims[-1] >= 8]


def _interface(path: Path) -> list[tuple[str, str, list[object]]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    nodes = [*session.get_inputs(), *session.get_outputs()]
    return [(node.name, node.type, node.shape) for node in nodes]
