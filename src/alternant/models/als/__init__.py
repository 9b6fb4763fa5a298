"""Alternating least squares: what `ImplicitALS` and `ExplicitALS` share."""
