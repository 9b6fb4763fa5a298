r"""A Gaussian process that models the metric as a function of the parameters and the size of the trial.

Trials with few factors are cheap and informative about trials with all factors, but the best regularization depends on
the number of factors. So the size of the trial is another input z, with its own kernel factor,

    k((x, z), (x', z')) = k_5/2(|(x - x') / l|) k_5/2(|z - z'| / l_z) + [z = z'],

with the Matern kernel of smoothness 5/2 and an offset per z. Values are relative to those of the model's own parameters
at the same z and iteration, so that neither the number of factors nor pruning shifts them. The length scales l and the
noise maximize the posterior density among random settings drawn around the last ones.

References
----------
D. R. Jones, M. Schonlau, W. J. Welch, "Efficient Global Optimization of Expensive Black-Box Functions", Journal of
Global Optimization 1998. C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006,
sections 2.2 and 5.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.special import ndtr

Floats = NDArray[np.float64]
OFFSET = 1.0  # variance of the offset per z
N_SETTINGS = 40  # random settings of length scales and noise per fit


class Surrogate:
    """A Gaussian process, refitted after each trial; all randomness is from `rng`."""

    def __init__(self, n_inputs: int, rng: np.random.Generator) -> None:
        self.rng = rng
        # Logarithms of the length scales of the inputs, of that of z, and of the noise variance.
        self.prior = self.setting = np.log(np.r_[np.full(n_inputs, 0.7), 2.0, 0.01])

    def fit(self, x: Floats, z: Floats, y: Floats) -> None:
        """Fit all trials: inputs in (0, 1), shape (n, n_inputs), and values, which are maximized."""
        # Clip values far below the others, which would otherwise dominate the scale.
        median, best = np.median(y), y.max()
        self.inputs = np.c_[x, z]
        y = np.maximum(y, best - 4 * max(best - median, 1e-9))
        self.mean, self.scale = y.mean(), y.std() or 1.0
        self.y = (y - self.mean) / self.scale
        spread = np.r_[np.full(self.inputs.shape[1], 0.4), 0.8]
        low, high = np.log(0.15), np.log(4.0)
        settings = [self.setting]
        for _ in range(N_SETTINGS):
            setting = self.setting + self.rng.normal(0, spread)
            setting[:-1] = setting[:-1].clip(low, high)
            setting[-1] = setting[-1].clip(np.log(1e-4), np.log(0.3))
            settings.append(setting)
        self.setting = max(settings, key=self._log_posterior)
        self.factor = self._factor(self.setting)
        self.weights = cho_solve((self.factor, True), self.y)

    def predict(self, x: Floats, z: float) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation of the predicted values at inputs `x` and size `z`."""
        k = _kernel(np.c_[x, np.full(len(x), z)], self.inputs, self.setting)
        variance = 1 + OFFSET - (solve_triangular(self.factor, k.T, lower=True) ** 2).sum(axis=0)
        return self.mean + self.scale * (k @ self.weights), self.scale * np.sqrt(variance.clip(1e-12))

    def expected_improvement(self, x: Floats, z: float, best: float) -> Floats:
        """Return the expected improvement over `best`."""
        mean, deviation = self.predict(x, z)
        t = (mean - best) / deviation
        density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        return np.asarray(deviation * (t * ndtr(t) + density))

    def _factor(self, setting: Floats) -> Floats:
        k = _kernel(self.inputs, self.inputs, setting)
        return np.asarray(cholesky(k + (np.exp(setting[-1]) + 1e-8) * np.eye(len(k)), lower=True))

    def _log_posterior(self, setting: Floats) -> float:
        try:
            factor = self._factor(setting)
        except LinAlgError:  # nearly equal trials
            return -np.inf
        prior = ((setting - self.prior) ** 2 / 4).sum()
        fits: Any = (solve_triangular(factor, self.y, lower=True) ** 2).sum() / 2 + np.log(np.diag(factor)).sum()
        return -float(fits) - float(prior) / 2


def _kernel(a: Floats, b: Floats, setting: Floats) -> Floats:
    lengths = np.exp(setting[:-1])
    same = a[:, None, -1] == b[None, :, -1]
    a, b = a / lengths, b / lengths
    x = _matern(a[:, None, :-1] - b[None, :, :-1])
    return np.asarray(x * _matern(a[:, None, -1:] - b[None, :, -1:]) + OFFSET * same)


def _matern(differences: Floats) -> Floats:
    r = np.sqrt(5 * (differences**2).sum(axis=-1))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))
