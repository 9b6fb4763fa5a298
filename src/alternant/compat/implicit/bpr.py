"""Bayesian personalized ranking, which is refused: there is no such model yet."""

from .cpu.bpr import BayesianPersonalizedRanking

__all__ = ["BayesianPersonalizedRanking"]
