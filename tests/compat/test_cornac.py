"""`alternant.compat.cornac` in cornac's experiments and searches."""

import numpy as np
import pytest
from scipy import sparse

cornac = pytest.importorskip("cornac", reason="cornac is not installed")

from cornac.data import Dataset  # noqa: E402
from cornac.eval_methods import RatioSplit  # noqa: E402
from cornac.exception import ScoreException  # noqa: E402
from cornac.hyperopt import Discrete, GridSearch  # noqa: E402
from cornac.metrics import NDCG, RMSE  # noqa: E402
from cornac.models import MF, MostPop, Recommender  # noqa: E402
from cornac.models.recommender import MEASURE_DOT, is_ann_supported  # noqa: E402

from alternant import EASE, BiasedMF, CosineMF, ExplicitALS, ImplicitALS  # noqa: E402
from alternant.compat.cornac import Alternant  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Model is already fitted")


def ratings(users=120, items=60, seed=0):
    """Ratings from 1 to 5 of two groups of users, as triples with strings as ids."""
    rng = np.random.default_rng(seed)
    of_group = np.kron(np.array([[1, -1], [-1, 1]]), np.ones((users // 2, items // 2)))
    table = np.clip(np.round(3 + 1.4 * of_group + rng.normal(0, 0.7, of_group.shape)), 1, 5)
    known = rng.random(table.shape) < 0.25 + 0.15 * (of_group > 0)
    rows = [(f"u{u}", f"i{i}", table[u, i]) for u, i in zip(*np.nonzero(known), strict=True)]
    rng.shuffle(rows)
    return [(user, item, float(rating)) for user, item, rating in rows]


TRAIN = Dataset.from_uir(ratings())
SPLIT = {"test_size": 0.2, "rating_threshold": 4.0, "seed": 1, "exclude_unknowns": True}


def experiment(models, metrics):
    method = RatioSplit(data=ratings(), **SPLIT)
    run = cornac.Experiment(method, models, metrics, user_based=False)
    run.run()
    return [[result.metric_avg_results[metric.name] for metric in metrics] for result in run.result]


def test_an_experiment_ranks_models_by_their_quality(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where cornac writes a log
    models = [
        Alternant(BiasedMF(factors=4, random_state=0), "biased"),
        Alternant(ExplicitALS(factors=4, random_state=0)),
        Alternant(ImplicitALS(factors=4, random_state=0), threshold=4),
        Alternant(EASE(), threshold=4),
        MF(k=4, seed=0),
        MostPop(),
    ]
    biased, explicit, implicit, ease, mf, popular = experiment(models, [RMSE(), NDCG(10)])
    table = capsys.readouterr().out
    assert "biased" in table
    assert "ExplicitALS" in table, "the name of the class"
    assert max(biased[0], explicit[0]) < 1.02 * mf[0] < popular[0]
    assert min(implicit[1], ease[1]) > max(1.2 * popular[1], mf[1])


def test_users_and_items_of_the_model_are_those_of_the_training_set():
    model = Alternant(ImplicitALS(factors=4, random_state=0)).fit(TRAIN)
    expected = ImplicitALS(factors=4, random_state=0).fit(TRAIN.csr_matrix)
    np.testing.assert_array_equal(model.score(3), expected.predict(3, np.arange(60)))
    assert model.score(3, 5).item() == expected.predict(3, 5)
    ranked, scores = model.rank(3, item_indices=np.array([7, 2, 30]))
    np.testing.assert_array_equal(scores, expected.predict(3, [7, 2, 30]))
    assert ranked.tolist() == [[7, 2, 30][at] for at in np.argsort(-scores)]
    user = TRAIN.user_ids[3]
    listed = model.recommend(user, k=5, remove_seen=True, train_set=TRAIN)
    assert listed == [TRAIN.item_ids[i] for i in expected.recommend(3, k=5)[0]]


def test_unknown_users_and_items_get_the_default_score():
    model = Alternant(ExplicitALS(factors=2, random_state=0)).fit(TRAIN)
    for pair in ((120, 0), (-1, None), (0, 60)):
        with pytest.raises(ScoreException, match=r"the training set has no (user 120|user -1|item 60)"):
            model.score(*pair)
    assert model.rate(120, 0) == TRAIN.global_mean


def test_ratings_of_at_least_the_threshold_are_positive_feedback():
    before = TRAIN.csr_matrix.copy()
    positive = sparse.csr_array(before >= 4).astype(np.float32)
    implicit = Alternant(EASE(), threshold=4).fit(TRAIN).model
    np.testing.assert_allclose(implicit.recommend(0, k=3)[1], EASE().fit(positive).recommend(0, k=3)[1])
    assert implicit.interactions_.data.tolist() == [1.0] * positive.nnz
    likes = Alternant(CosineMF(factors=2, epochs=1, random_state=0), threshold=4).fit(TRAIN).model
    np.testing.assert_array_equal(likes.interactions_.to_scipy().toarray(), positive.toarray())
    assert len(likes.interactions_.data) == before.nnz, "all others are dislikes"
    assert (before != TRAIN.csr_matrix).nnz == 0, "cornac's matrix is left as it is"
    with pytest.raises(ValueError, match="but BiasedMF learns from ratings: leave it out"):
        Alternant(BiasedMF(), threshold=4)
    with pytest.raises(TypeError, match=r"^model must be a model of alternant, such as ImplicitALS\(\), got <class"):
        Alternant(EASE)


def test_a_search_tunes_the_parameters_of_the_model():
    method = RatioSplit(data=ratings(), val_size=0.2, **SPLIT)
    model = Alternant(ExplicitALS(factors=2, random_state=0))
    search = GridSearch(model, [Discrete("regularization", [0.05, 50.0])], RMSE(), method)
    search.fit(method.train_set, method.val_set)
    assert search.best_params == {"regularization": 0.05}
    assert search.best_model.model.regularization == 0.05
    assert model.model.regularization == 0.12, "the model that was passed is left as it is"


def test_a_clone_is_unfitted_and_keeps_what_is_not_new():
    model = Alternant(ImplicitALS(factors=3, random_state=0), "mine", threshold=4, trainable=True).fit(TRAIN)
    clone = model.clone({"iterations": 2, "threshold": 3})
    assert (clone.name, clone.threshold, clone.is_fitted) == ("mine", 3, False)
    assert clone.model.get_params() == model.model.get_params() | {"iterations": 2}
    assert not hasattr(clone.model, "history_")
    with pytest.raises(ValueError, match="ImplicitALS has no parameter 'k'"):
        model.clone({"k": 3})


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # cornac does not close the file
def test_a_saved_recommender_scores_without_the_training_set(tmp_path):
    model = Alternant(BiasedMF(factors=2, epochs=2, random_state=0)).fit(TRAIN)
    path = model.save(tmp_path)
    loaded = Recommender.load(path)
    np.testing.assert_array_equal(loaded.score(1), model.score(1))
    assert loaded.recommend("u0", k=3) == model.recommend("u0", k=3)


@pytest.mark.parametrize("model", [ImplicitALS(factors=3), BiasedMF(factors=3, epochs=2), CosineMF(factors=3)])
def test_vectors_for_approximate_search_rank_as_scores_do(model):
    threshold = 4 if isinstance(model, CosineMF) else None
    recommender = Alternant(model.set_params(random_state=0), threshold=threshold).fit(TRAIN)
    assert is_ann_supported(recommender)
    assert recommender.get_vector_measure() == MEASURE_DOT
    products = recommender.get_user_vectors() @ recommender.get_item_vectors().T
    for user in (0, 50):
        scores = recommender.score(user)
        assert np.argsort(-products[user])[:5].tolist() == np.argsort(-scores)[:5].tolist()
    assert not is_ann_supported(Alternant(EASE()))


def test_a_fitted_model_is_not_trained_again_unless_it_is_trainable():
    model = ImplicitALS(factors=2, random_state=0).fit(TRAIN.csr_matrix)
    before = model.item_factors
    assert Alternant(model, trainable=False).fit(TRAIN).model.item_factors is before
    named = ImplicitALS.from_factors(model.user_factors, before, item_ids=[f"i{i}" for i in range(60)])
    message = "must be one of row numbers and of the 120 users and 60 items of the training set, got"
    for other in (named, ImplicitALS(factors=2).fit(TRAIN.csr_matrix[:, :9])):
        with pytest.raises(ValueError, match=message):
            Alternant(other, trainable=False).fit(TRAIN)


def test_the_progress_bar_is_shown_on_request(capsys):
    Alternant(ImplicitALS(factors=2)).fit(TRAIN)
    Alternant(EASE(), verbose=True).fit(TRAIN)
    assert capsys.readouterr().err == ""
    Alternant(ImplicitALS(factors=2), verbose=True).fit(TRAIN)
    assert "ImplicitALS" in capsys.readouterr().err
