"""A model that names its backend runs on that one alone, whatever it is asked to do."""

import inspect

import numpy as np
import pytest
from scipy.sparse import csr_array

from alternant import evaluation, models
from alternant.kernels import _registry

CLASSES = sorted(
    (cls for cls in vars(models).values() if inspect.isclass(cls) and hasattr(cls, "recommend") and hasattr(cls, "fit")
     and not inspect.isabstract(cls) and cls is not models.FactorModel),
    key=lambda cls: cls.__name__,
)  # fmt: skip


def interactions(cls, seed, users=40, items=30):
    """Ratings from 1 to 5, or likes and dislikes where the model takes no ratings; each user and item has some."""
    rng = np.random.default_rng(seed)
    ratings = (rng.random((users, items)) < 0.3) * rng.integers(1, 6, (users, items))
    ratings[:, 0] = 1
    ratings[0] = 4
    table = csr_array(ratings.astype(np.float32))
    if cls is models.CosineMF:
        table.data = (table.data > 2).astype(np.float32)
    return table


@pytest.mark.nightly
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_model_on_numpy_calls_no_other_backend(monkeypatch, cls):
    load = _registry._load

    def only_numpy(name):
        assert name == "numpy", f"the model named numpy, and {name} was loaded"
        return load(name)

    monkeypatch.setattr(_registry, "_load", only_numpy)
    monkeypatch.setattr(_registry, "_choose", lambda: only_numpy("auto"))
    given = {"factors": 4, "iterations": 2, "random_state": 0}
    known = inspect.signature(cls).parameters
    model = cls(backend="numpy", **{name: value for name, value in given.items() if name in known})
    model.fit(interactions(cls, 0))
    model.recommend(np.arange(3), k=4)
    model.predict([0, 1], [1, 2])
    evaluation.evaluate(model, interactions(cls, 1), k=5, exclude_seen=False)
    if model.user_factors is not None:
        model.similar_items([0, 1], k=3)
        model.similar_users([0, 1], k=3)
    if hasattr(cls, "partial_fit_users"):
        model.fold_in_users(interactions(cls, 2, 3))
        model.partial_fit_users(np.arange(3), interactions(cls, 2, 3))
    if hasattr(cls, "partial_fit_items"):
        model.partial_fit_items(np.arange(2), interactions(cls, 3, 2, 40))
    if hasattr(cls, "update"):
        model.update(0, 1, 1)
