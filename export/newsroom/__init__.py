"""The synthetic newsroom: invented articles, readers and clicks whose truth is known exactly."""

from export.newsroom.contrast import two_contrasting_readers
from export.newsroom.generate import NewsroomReport, generate_newsroom
from export.newsroom.histories import load_histories
from export.newsroom.posterior import Posterior, posterior
from export.newsroom.truth import NewsroomTruth, load_truth

__all__ = [
    "NewsroomReport",
    "NewsroomTruth",
    "Posterior",
    "generate_newsroom",
    "load_histories",
    "load_truth",
    "posterior",
    "two_contrasting_readers",
]
