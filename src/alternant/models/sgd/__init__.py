"""Stochastic gradient descent: what `BiasedMF`, `CosineMF`, `LogisticMF` and `BPR` share."""
