"""Priors of factors, learned from features."""
