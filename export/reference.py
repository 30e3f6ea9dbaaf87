"""The reference architecture: one Conv1D stack over a reader's concatenated posts.

As the source article builds it in Keras (`valid` padding throughout), with its two slips mended:
the embedding is (vocabulary, 256) and the heads have names. The age head's bias starts at the
mean age of the training readers, without which the squared error in years (about 1,500 at
first) drowns the other heads for many epochs.
"""

import torch
from torch import Tensor, nn

from export.heads import HeadOutputs
from export.prior import Prior
from schemas.errors import TrainingError

READER_TOKENS = 500
SHORTEST_READER_TOKENS = 269
"""Fewer tokens leave nothing for the last convolution."""

_WIDTH = 256


class ReferenceModel(nn.Module):
    """Estimate age, income and gender from the tokens of a reader's posts."""

    def __init__(self, vocabulary_size: int, prior: Prior, num_tokens: int = READER_TOKENS) -> None:
        super().__init__()
        if num_tokens < SHORTEST_READER_TOKENS:
            raise TrainingError(
                f"the reference architecture needs {SHORTEST_READER_TOKENS} tokens of a reader "
                f"or more, not {num_tokens}"
            )
        self.embedding = nn.Embedding(vocabulary_size, _WIDTH)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)  # as Keras starts it
        self.convolutions = nn.Sequential(
            nn.Conv1d(_WIDTH, 128, 5),
            nn.ReLU(),
            nn.MaxPool1d(5),
            nn.Conv1d(128, 256, 5),
            nn.ReLU(),
            nn.Conv1d(256, 256, 5),
            nn.ReLU(),
            nn.MaxPool1d(5),
            nn.Conv1d(256, 256, 5),
            nn.ReLU(),
            nn.Conv1d(256, 256, 5),
            nn.ReLU(),
        )
        self.dense = nn.Linear(256, 128)
        self.age = nn.Linear(128, 1)
        self.income = nn.Linear(128, len(prior.income))
        self.gender = nn.Linear(128, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear) and layer.bias is not None:
                nn.init.xavier_uniform_(layer.weight)  # Keras's "glorot_uniform"
                nn.init.zeros_(layer.bias)
        nn.init.constant_(self.age.bias, prior.age_mean)

    def forward(self, tokens: Tensor) -> HeadOutputs:
        """Estimate from token ids (B, T), newest article first."""
        x = self.convolutions(self.embedding(tokens).transpose(1, 2)).amax(2)  # (B, 256)
        x = torch.relu(self.dense(x))
        age = self.age(x).squeeze(1)
        return HeadOutputs(
            age=age,
            income=self.income(x),
            gender=self.gender(x).squeeze(1),
        )
