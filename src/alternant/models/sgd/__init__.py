"""Stochastic gradient descent: what `BiasedMF`, `CosineMF`, `LogisticMF`, `BPR` and `ContrastiveMF` share."""
