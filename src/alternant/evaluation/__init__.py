"""Offline evaluation: train-test splits, ranking metrics and rating metrics."""

from ._blocked import blocked_split
from ._compare_lists import ListComparison, compare_lists
from ._evaluate import evaluate
from ._kinds import HeldOutEvents, split_kind
from ._negatives import sample_negatives
from ._report import Evaluation, Interval
from ._scorer import scorer
from ._side_splits import HeldOutItems, hold_out_items
from .metrics import RankingMetrics, ranking_metrics
from .splits import (
    HeldOutUsers,
    hold_out_users,
    k_fold,
    leave_k_out,
    leave_last_out,
    leave_one_out,
    random_split,
    split_by_time,
)

__all__ = [
    "Evaluation",
    "HeldOutEvents",
    "HeldOutItems",
    "HeldOutUsers",
    "Interval",
    "ListComparison",
    "RankingMetrics",
    "blocked_split",
    "compare_lists",
    "evaluate",
    "hold_out_items",
    "hold_out_users",
    "k_fold",
    "leave_k_out",
    "leave_last_out",
    "leave_one_out",
    "random_split",
    "ranking_metrics",
    "sample_negatives",
    "scorer",
    "split_by_time",
    "split_kind",
]
