"""`from_factors`: models made from factors that were learned elsewhere."""

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, feedback, name_of
from refusal import refuses

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, LogisticMF
from alternant.models import MODELS

WITH_FACTORS = [cls for cls in MODELS.values() if hasattr(cls, "from_factors")]
X, Y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.5, 1.0], [2.0, 0.0], [-1.0, 1.0]])


def test_the_models_with_factors_have_it():
    names = {cls.__name__ for cls in WITH_FACTORS}
    assert names == {"ImplicitALS", "ExplicitALS", "BiasedMF", "CosineMF", "LogisticMF"}


@pytest.mark.parametrize("fitted", [m for m in every_model() if hasattr(m, "from_factors")], ids=name_of)
def test_a_model_of_the_factors_of_a_fit_is_as_the_fitted_one(fitted, tmp_path):
    rng = np.random.default_rng(0)
    R = feedback(rng.standard_normal((20, 12)), rng.uniform(size=(20, 12)) < 0.4, fitted.traits.feedback)
    fitted.fit(R)
    users, items, biases = fitted.user_factors, fitted.item_factors, {}
    if fitted._has_biases():
        biases = {"user_biases": users[:, -2], "item_biases": items[:, -1], "mean": getattr(fitted, "mean_", 0.0)}
        if isinstance(fitted, BiasedMF):  # whose scores are in standard deviations
            s = fitted.deviation_
            users, biases["user_biases"], biases["item_biases"] = users * s, users[:, -2] * s, items[:, -1] * s
        users, items = users[:, :-2], items[:, :-2]
    if isinstance(fitted, LogisticMF):
        del biases["mean"]
    given = type(fitted).from_factors(users, items, **biases, interactions=R, backend=fitted.backend)
    for loaded in (given, type(fitted).load(_saved(given, tmp_path))):
        ids, scores = fitted.recommend(np.arange(20), k=5)
        other_ids, other_scores = loaded.recommend(np.arange(20), k=5)
        np.testing.assert_array_equal(other_ids, ids)
        np.testing.assert_allclose(other_scores, scores, rtol=1e-5)
        np.testing.assert_allclose(
            loaded.predict(np.arange(12), np.arange(12)), fitted.predict(np.arange(12), np.arange(12)), rtol=1e-5
        )
    assert given.get_params()["factors"] == 4
    assert not np.shares_memory(given.user_factors, users)


def _saved(model, folder):
    model.save(folder / "given.safetensors")
    return folder / "given.safetensors"


def test_ids_are_given_or_those_of_the_interactions():
    names = {"user_ids": ["ann", "bob"], "item_ids": np.array([30, 10, 20])}
    model = ImplicitALS.from_factors(X, Y, **names)
    assert model.recommend("ann", k=3, exclude_seen=False)[0].tolist() == [10, 30, 20]
    assert model.predict("bob", 30) == 2.0
    table = Interactions.from_arrays(["bob", "ann"], [20, 10])
    seen = ImplicitALS.from_factors(X, Y, **names, interactions=table)
    assert seen.recommend("ann", k=3)[0].tolist() == [30, 20, -1]
    by_table = ImplicitALS.from_factors(X, Y[:2], interactions=table)
    assert by_table.user_ids_.tolist() == ["ann", "bob"]
    assert by_table.item_ids_.tolist() == [10, 20]


def test_new_users_are_folded_in_by_the_objective_of_the_parameters():
    hu = {"weighting": "hu", "alpha": 2.0, "unobserved_weight": 1.0}
    model = ImplicitALS.from_factors(X, Y, **hu, regularization=0.5, regularization_scaling="none")
    A = Y.T @ Y + 0.5 * np.eye(2) + 2 * np.outer(Y[1], Y[1])
    new = sp.csr_array(np.array([[0, 1.0, 0]]))
    np.testing.assert_allclose(model.fold_in_users(new)[0], np.linalg.solve(A, 3 * Y[1]), rtol=1e-6)
    model.partial_fit_users([2], new)
    assert len(model.user_factors) == 3
    refuses(ValueError, r"set_params\(weighting=.hu., alpha", lambda: ImplicitALS.from_factors(X, Y).fold_in_users(new))


@pytest.mark.parametrize(
    ("given", "kept"), [("f2", "float32"), ("f4", "float32"), ("f8", "float64"), ("i4", "float64")]
)
def test_the_dtype_is_that_of_the_arrays(given, kept):
    model = ImplicitALS.from_factors(X.astype(given), Y.astype(given))
    assert model.user_factors.dtype == model.item_factors.dtype == kept == model.get_params()["dtype"]


def test_ratings_have_biases_and_a_mean():
    model = ExplicitALS.from_factors(X, Y, user_biases=[1.0, 2.0], item_biases=[0.1, 0.2, 0.3], mean=3.0)
    assert model.predict(1, 0) == pytest.approx(3 + 2 + 0.1 + 2)
    assert BiasedMF.from_factors(X, Y, mean=3.0, rating_range=(1, 4)).predict(0, 1) == 4.0
    assert ExplicitALS.from_factors(X, Y, biases=False).predict(0, 1) == 2.0


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, "same number of columns, at least one, got shapes", lambda: ImplicitALS.from_factors(X, Y[:, :1])),
    (ValueError, r"user_factors must have shape \(n_users, factors\), got \(2,\)",
     lambda: ImplicitALS.from_factors(X[0], Y)),
    (TypeError, "item_factors must be an array of real numbers",
     lambda: ImplicitALS.from_factors(X, Y.astype(complex))),
    (ValueError, "user_factors must be finite in float64",
     lambda: ImplicitALS.from_factors(np.full_like(X, np.inf), Y)),
    (ValueError, "user_ids must have one id for each of the 2 rows of user_factors, got 1",
     lambda: ImplicitALS.from_factors(X, Y, user_ids=["ann"])),
    (ValueError, "item_ids must be distinct", lambda: ImplicitALS.from_factors(X, Y, item_ids=[1, 2, 2])),
    (ValueError, "factors is that of the arrays", lambda: ImplicitALS.from_factors(X, Y, factors=2)),
    (ValueError, "ImplicitALS has no biases: leave out",
     lambda: ImplicitALS.from_factors(X, Y, user_biases=[0, 1])),
    (ValueError, "pass biases=True", lambda: ExplicitALS.from_factors(X, Y, mean=1.0, biases=False)),
    (ValueError, r"item_biases must have shape \(3,\), one for each item, got \(2,\)",
     lambda: ExplicitALS.from_factors(X, Y, item_biases=[1.0, 2.0])),
    (ValueError, r"interactions must have one row per user and one column per item, \(2, 3\)",
     lambda: ImplicitALS.from_factors(X, Y, interactions=sp.eye_array(3))),
    (TypeError, "unexpected keyword argument 'alfa'", lambda: ImplicitALS.from_factors(X, Y, alfa=1)),
    (ValueError, "no mean: leave out", lambda: CosineMF.from_factors(X, Y, mean=1.0)),
])  # fmt: skip
def test_what_does_not_fit_is_refused(error, message, call):
    with pytest.raises(error, match=message):
        call()
