"""How good a bundle is on readers it was not trained on, beside models that are easy to make."""

from export.evaluation.measure import evaluate, evaluate_data
from export.evaluation.table import as_table

__all__ = ["as_table", "evaluate", "evaluate_data"]
