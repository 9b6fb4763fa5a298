"""Measure a recommender: hold interactions out, then see how well the recommendations find them."""

from .metrics import RankingMetrics, ranking_metrics
from .splits import leave_one_out

__all__ = ["RankingMetrics", "leave_one_out", "ranking_metrics"]
