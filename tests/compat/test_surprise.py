"""`alternant.compat.surprise` against Surprise itself."""

import numpy as np
import pandas as pd
import pytest

surprise = pytest.importorskip("surprise", reason="Surprise is not installed")

from surprise import dump, model_selection  # noqa: E402

from alternant.compat.surprise import NMF, SVD  # noqa: E402

LEARNED = ("pu", "qi", "bu", "bi")


def ratings(seed=0):
    """Ratings of 40 users with strings as ids, one pair of them twice."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((40, 30)) < 0.3)
    taste = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    values = np.clip(np.round(3 + taste[users, items] + rng.normal(0, 0.5, len(users))), 1, 5)
    rows = [(f"u{u}", f"i{i}", float(r)) for u, i, r in zip(users, items, values, strict=True)]
    rng.shuffle(rows)
    return [*rows, (rows[0][0], rows[0][1], 1.0)]


DATA = surprise.Dataset.load_from_df(pd.DataFrame(ratings()), surprise.Reader(rating_scale=(1, 5)))
TRAIN = DATA.build_full_trainset()
# Known pairs, an unknown item, an unknown user, and both.
TEST = [*ratings()[:60], ("u0", "?", 4.0), ("?", "i0", 2.0), ("?", "?", 3.0)]


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        (SVD, {}),
        (SVD, {"n_factors": 5, "reg_bu": 0.1, "reg_bi": 0.3, "reg_pu": 0.05, "reg_qi": 0.2, "n_epochs": 7}),
        (SVD, {"n_factors": 5, "lr_bu": 0.02, "lr_bi": 0.02, "lr_pu": 0.03, "lr_qi": 0.007, "init_mean": 0.2}),
        (SVD, {"n_factors": 5, "lr_bu": 0, "lr_bi": 0}),
        (SVD, {"n_factors": 0, "n_epochs": 3}),
        (SVD, {"n_factors": 5, "biased": False, "init_mean": 0.5, "init_std_dev": 0.3, "reg_all": 0.1}),
        (NMF, {}),
        (NMF, {"n_factors": 4, "reg_pu": 0.2, "reg_qi": 0.01, "init_low": 0.1, "init_high": 0.5, "n_epochs": 9}),
    ],
)
def test_factors_and_predictions_are_those_of_surprise(ours, options):
    expected = getattr(surprise, ours.__name__)(random_state=1, **options).fit(TRAIN)
    found = ours(random_state=1, **options)
    assert found.fit(TRAIN) is found
    for name in LEARNED:
        values = getattr(found, name)
        np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-8, atol=1e-10, err_msg=name)
        assert values.dtype == np.float64
    for one, other, row in zip(found.test(TEST), expected.test(TEST), TEST, strict=True):
        for prediction in (one, found.predict(*row)):
            assert prediction.est == pytest.approx(other.est, abs=1e-9)
            assert prediction._replace(est=0) == other._replace(est=0)
    unclipped = found.predict("u1", "i2", clip=False).est
    assert unclipped == pytest.approx(expected.predict("u1", "i2", clip=False).est, abs=1e-9)


def test_parameters_are_those_of_surprise():
    for ours, theirs in ((SVD(lr_all=0.1, lr_pu=0.2), surprise.SVD(lr_all=0.1, lr_pu=0.2)), (NMF(), surprise.NMF())):
        assert vars(ours) == vars(theirs)


def test_without_a_seed_numpys_global_state_is_used():
    found = []
    for algorithm in (SVD(), surprise.SVD()):
        np.random.seed(7)
        found.append(algorithm.fit(TRAIN).pu)
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_cross_validation_and_search_run():
    folds = model_selection.KFold(3, random_state=0)
    found, expected = (
        model_selection.cross_validate(algorithm, DATA, cv=folds, verbose=False)["test_rmse"]
        for algorithm in (SVD(random_state=0), surprise.SVD(random_state=0))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    grid = {"n_factors": [2], "lr_all": [0.01, 0.05], "random_state": [0]}
    search = model_selection.GridSearchCV(SVD, grid, cv=folds)
    search.fit(DATA)
    assert search.best_params["rmse"]["lr_all"] == 0.05
    assert isinstance(search.best_estimator["rmse"], SVD)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Surprise does not close the files
def test_algorithms_are_dumped_and_loaded(tmp_path):
    algorithm = NMF(random_state=0, n_epochs=3).fit(TRAIN)
    dump.dump(tmp_path / "model", algo=algorithm)
    _, loaded = dump.load(tmp_path / "model")
    assert loaded.predict("u0", "i1") == algorithm.predict("u0", "i1")


def test_a_subclass_that_predicts_by_itself_is_asked_for_each_pair():
    class Constant(SVD):
        def estimate(self, u, i):
            return 2.0

    assert {prediction.est for prediction in Constant(n_epochs=1).fit(TRAIN).test(TEST)} == {2.0}


def test_predictions_are_printed_on_request(capsys):
    predictions = SVD(n_epochs=1, random_state=0).fit(TRAIN).test(TEST[:2], verbose=True)
    assert capsys.readouterr().out.splitlines() == [str(prediction) for prediction in predictions]


@pytest.mark.parametrize("algorithm", [SVD, NMF])
def test_the_progress_bar_is_shown_on_request(algorithm, capsys):
    algorithm(n_epochs=2).fit(TRAIN)
    assert capsys.readouterr() == ("", "")
    algorithm(n_epochs=2, verbose=True).fit(TRAIN)
    assert f"{algorithm.__name__}: 100%" in capsys.readouterr().err


def test_ids_without_ratings_are_unknown():
    trainset = surprise.Trainset({0: [(0, 4.0)]}, {0: [(0, 4.0)]}, 2, 2, 1, (1, 5), {"a": 0, "b": 1}, {"x": 0, "y": 1})
    found, expected = (algorithm(random_state=0, init_std_dev=1).fit(trainset) for algorithm in (SVD, surprise.SVD))
    pairs = [(user, item, 3.0) for user in "ab" for item in "xy"]
    for one, other in zip(found.test(pairs), expected.test(pairs), strict=True):
        assert one.est == pytest.approx(other.est)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr_bu": 0.01}, "lr_bu and lr_bi must be equal, got 0.01 and 0.005: pass one for both"),
        ({"lr_pu": 0.0}, "lr_pu and lr_qi must be above 0, got 0.0 and 0.005"),
    ],
)
def test_learning_rates_that_the_kernel_cannot_take_are_refused(options, message):
    algorithm = SVD(**options)
    with pytest.raises(ValueError, match=message):
        algorithm.fit(TRAIN)
    assert not hasattr(algorithm, "trainset")


def test_a_fit_that_diverges_warns_and_predicts_as_surprise_does():
    with pytest.warns(RuntimeWarning, match="^SVD diverges: lower lr_all, or lr_pu and lr_qi$"):
        algorithm = SVD(lr_all=5, random_state=0).fit(TRAIN)
    assert np.isnan(algorithm.pu).any()
    for prediction, row in zip(algorithm.test(TEST), TEST, strict=True):
        assert prediction.est == algorithm.predict(*row).est


def test_biases_beside_nonnegative_factors_are_refused():
    with pytest.raises(NotImplementedError, match=r"NMF\(biased=True\) is not offered here: use SVD, which has biases"):
        NMF(biased=True)
    with pytest.raises(ValueError, match="init_low must be at least 0, so that no factor is negative, got -1"):
        NMF(init_low=-1)
