"""The bag encoder: the wide path alone, the cheapest."""

from export.encoders.wide_deep import WideDeepEncoder


class BagEncoder(WideDeepEncoder):
    """Encode a text as the weighted bag of its embeddings; the order of pieces is not read."""

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__(vocabulary_size, width, None)
