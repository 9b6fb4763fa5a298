"""Stochastic gradient descent: what `BiasedMF`, `CosineMF` and `LogisticMF` share."""
