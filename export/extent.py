"""How much of a text and of a history a model reads, where the options do not say."""

import numpy as np

from export.data import ReaderData
from schemas.tokenizer import Tokenizer

_FEWEST_CLICKS, _MOST_CLICKS = 16, 256
_FEWEST_TOKENS, _MOST_TOKENS = 32, 256
_TOKENS_STEP = 32
_SAMPLE = 2_000  # articles


def usual_clicks(data: ReaderData) -> int:
    """Return the power of 2 that nine readers in ten do not exceed, within bounds."""
    wanted = int(np.quantile(data.num_clicks(), 0.9))
    return min(_MOST_CLICKS, max(_FEWEST_CLICKS, 1 << (wanted - 1).bit_length()))


def usual_tokens(data: ReaderData, tokenizer: Tokenizer, seed: int) -> int:
    """Return the length that 49 articles in 50 do not exceed, a multiple of 32, within bounds."""
    chance = np.random.default_rng(seed)
    chosen = chance.choice(len(data.texts), min(_SAMPLE, len(data.texts)), replace=False)
    texts = [data.texts[article] for article in np.sort(chosen)]
    lengths = (tokenizer.encode(texts, _MOST_TOKENS) != 0).sum(1)
    wanted = int(np.quantile(lengths, 0.98))
    return min(_MOST_TOKENS, max(_FEWEST_TOKENS, -(-wanted // _TOKENS_STEP) * _TOKENS_STEP))
