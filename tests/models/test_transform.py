"""What scikit-learn's users expect of every model: rows predicted for new users, and factors as features."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model, feedback, name_of, small

from alternant import (
    BPR,
    EASE,
    BiasedMF,
    ContrastiveMF,
    CosineMF,
    ExplicitALS,
    ImplicitALS,
    Interactions,
    LogisticMF,
    Popularity,
)

pytest.importorskip("sklearn", reason="the test extra has scikit-learn")

import sklearn
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, FunctionTransformer, StandardScaler

M, N = 40, 25
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5
TRANSFORMERS = [BPR, ContrastiveMF, ImplicitALS, ExplicitALS, BiasedMF, CosineMF, LogisticMF]


def rows_for(model):
    return feedback(UTILITY, KNOWN, model.traits.feedback)


@pytest.fixture(params=every_model(), ids=name_of)
def fitted(request):
    return clone(request.param).fit(rows_for(request.param))


@pytest.fixture(params=TRANSFORMERS, ids=lambda cls: cls.__name__)
def transformer(request):
    model = small(request.param)
    return model.fit(rows_for(model))


def bits(model):
    return model.user_factors.tobytes(), model.item_factors.tobytes()


# --- predictions of new users -----------------------------------------------------------------------------------------


def test_interactions_of_new_users_are_predicted_for_all_items(fitted):
    new = rows_for(fitted)[5:12]
    predicted = fitted.predict(new)
    assert predicted.shape == (7, N)
    ids, scores = fitted.recommend(user_items=new, k=N, exclude_seen=False)
    np.testing.assert_allclose(np.take_along_axis(predicted, ids.astype(int), axis=1), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fitted.predict(new[3:5]), predicted[3:5])


def test_predictions_of_many_users_are_computed_in_blocks(fitted, monkeypatch):
    expected = fitted.predict(rows_for(fitted))
    monkeypatch.setattr("alternant.models._sklearn.PAIRS", 3 * N)
    np.testing.assert_array_equal(fitted.predict(rows_for(fitted)), expected)


def test_interactions_by_raw_ids_are_predicted_in_the_order_of_the_items():
    users, items = np.nonzero(KNOWN)
    data = Interactions.from_arrays([f"u{u:02}" for u in users], [f"i{i:02}" for i in items])
    model = small(ImplicitALS).fit(data)
    np.testing.assert_array_equal(model.predict(data[[3, 4]]), model.predict(data.matrix[[3, 4]]))
    assert model.score(data) == model.score(data.matrix)


def test_ids_without_items_are_refused():
    model = small(Popularity).fit(rows_for(small(Popularity)))
    with pytest.raises(TypeError, match=r"items must be whole numbers .*, got None"):
        model.predict(3)
    for one in ([1, 2], np.ones(N)):
        with pytest.raises(ValueError, match=r"takes the interactions of new users, shape \(m, 25\), got shape"):
            model.predict(one)


# --- features ---------------------------------------------------------------------------------------------------------


def test_the_number_of_features_is_that_of_the_items(fitted, tmp_path):
    assert not hasattr(clone(fitted), "n_features_in_")
    assert fitted.n_features_in_ == N
    fitted.save(tmp_path / "model.safetensors")
    assert type(fitted).load(tmp_path / "model.safetensors").n_features_in_ == N
    if hasattr(fitted, "partial_fit_items"):
        assert fitted.partial_fit_items([N], rows_for(fitted).T.tocsr()[:1]).n_features_in_ == N + 1


def test_features_are_the_factors_of_new_users_without_biases(transformer):
    new = rows_for(transformer)[:6]
    features = transformer.transform(new)
    assert features.shape == (6, 4)
    np.testing.assert_array_equal(features, transformer.fold_in_users(new)[:, :4])
    np.testing.assert_array_equal(transformer.transform(new[3:]), features[3:])
    rows = rows_for(transformer)
    np.testing.assert_array_equal(clone(transformer).fit_transform(rows), transformer.transform(rows))


def test_only_models_whose_users_are_dense_vectors_are_transformers(fitted):
    assert hasattr(fitted, "transform") == (type(fitted) in TRANSFORMERS)
    assert (fitted.__sklearn_tags__().transformer_tags is not None) == hasattr(fitted, "transform")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_features_are_a_frame_on_request(library):
    pytest.importorskip(library)
    model = small(LogisticMF).fit(rows_for(small(LogisticMF)))
    plain = model.transform(rows_for(model))
    names = [f"logisticmf{number}" for number in range(4)]
    assert model.get_feature_names_out().tolist() == names
    with sklearn.config_context(transform_output=library):
        assert type(model.transform(rows_for(model))).__module__.startswith(library)
        model.set_output(transform="default")
        np.testing.assert_array_equal(model.transform(rows_for(model)), plain)
    chosen = clone(model.set_output(transform=library).set_output()).fit(rows_for(model))
    frame = chosen.transform(rows_for(model))
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == names
    np.testing.assert_array_equal(frame.to_numpy(), plain)


def test_bad_names_and_outputs_are_refused():
    model = small(ImplicitALS)
    with pytest.raises(ValueError, match="not fitted yet"):
        model.get_feature_names_out()
    with pytest.raises(ValueError, match="transform must be one of 'default', 'pandas', 'polars', got 'xarray'"):
        model.set_output(transform="xarray")
    model.fit(rows_for(model))
    with pytest.raises(ValueError, match="input_features should have length equal to the number of items, 25, got 2"):
        model.get_feature_names_out(["a", "b"])


def test_features_are_learned_from_by_the_next_step():
    rows = rows_for(small(ImplicitALS))
    likes = UTILITY[:, 0] > 0
    pipe = make_pipeline(small(ImplicitALS), StandardScaler(), LogisticRegression()).fit(rows, likes)
    assert pipe[0].n_features_in_ == pipe.n_features_in_ == N
    assert pipe.score(rows, likes) > 0.8
    by_hand = LogisticRegression().fit(StandardScaler().fit_transform(small(ImplicitALS).fit_transform(rows)), likes)
    np.testing.assert_allclose(pipe[-1].coef_, by_hand.coef_)


# --- pipelines that end in a model ------------------------------------------------------------------------------------


def weighted(rows):
    """Some weighting of the interactions by the popularity of the items."""
    rows = sp.csr_array(rows, dtype=float)
    return sp.csr_array(rows * (1 / np.maximum(rows.sum(axis=0), 1))[None, :])


STEPS = {
    "csr_matrix": FunctionTransformer(sp.csr_matrix),
    "csr_array": FunctionTransformer(weighted),
    "coo_array": FunctionTransformer(sp.coo_array),
    "dense": FunctionTransformer(lambda rows: Binarizer().transform(rows.toarray())),
    "tf-idf": TfidfTransformer(),
}


@pytest.mark.parametrize("cls", [ImplicitALS, EASE, Popularity], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_pipeline_recommends_after_any_transformer(step, cls):
    rows = abs(rows_for(small(cls)))
    pipe = make_pipeline(STEPS[step], small(cls)).fit(rows)
    seen = STEPS[step].fit_transform(rows)
    model = small(cls).fit(seen)
    assert bits(pipe[-1]) == bits(model)
    ids, scores = pipe[-1].recommend(np.arange(M), 5)
    assert not KNOWN[np.arange(M)[:, None], ids][np.isfinite(scores)].any()
    assert pipe.score(rows) == model.score(seen)
    np.testing.assert_array_equal(pipe.predict(rows), model.predict(seen))


def test_models_are_transformers_without_sklearn(monkeypatch):
    model = small(ImplicitALS).fit(rows_for(small(ImplicitALS)))
    monkeypatch.delitem(sys.modules, "sklearn")
    assert type(model.transform(rows_for(model))) is np.ndarray
    assert "sklearn" not in sys.modules
