"""The embedded data set and the planted one."""

import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from alternant.datasets import load_msweb, planted

# --- load_msweb -------------------------------------------------------------------------------------------------------


def test_msweb_is_the_published_data():
    data = load_msweb()
    assert isinstance(data.interactions, sparse.csr_array)
    assert data.interactions.dtype == np.float32
    assert data.interactions.shape == (32_710, 285)
    assert data.interactions.nnz == 98_653
    assert (data.interactions.data == 1).all()
    data.interactions.check_format(full_check=True)
    assert data.interactions.has_canonical_format


def test_msweb_visitors_and_areas_all_have_visits():
    interactions = load_msweb().interactions
    per_user = np.diff(interactions.indptr)
    assert (per_user.min(), per_user.max()) == (1, 35)
    assert np.bincount(interactions.indices).min() == 1


def test_msweb_titles_are_unique_and_belong_to_their_columns():
    data = load_msweb()
    assert data.item_titles.shape == (285,)
    assert data.item_titles.dtype.kind == "U"
    assert len(set(data.item_titles)) == 285
    assert all(title == title.strip() != "" for title in data.item_titles)
    # From the published file: "Free Downloads" is the area most visited, 10,836 times, the last visitor included.
    visits = np.bincount(data.interactions.indices)
    assert data.item_titles[visits.argmax()] == "Free Downloads"
    assert visits.max() == 10_835
    # Its first visitor opened these three.
    assert data.item_titles[data.interactions.indices[:3]].tolist() == [
        "regwiz",
        "Support Desktop",
        "End User Produced View",
    ]


def test_msweb_says_where_it_comes_from_and_on_which_terms():
    data = load_msweb()
    readme = files("alternant.datasets").joinpath("data", "README.md").read_text(encoding="utf-8")
    for text in (data.citation, readme):
        assert "Breese" in text
        assert "https://doi.org/10.24432/C5VS3Q" in text
    assert data.license.startswith("CC BY 4.0")
    assert "https://creativecommons.org/licenses/by/4.0/" in readme
    assert "32,710" in data.description


def test_changing_what_was_loaded_does_not_change_the_next_load():
    first = load_msweb()
    first.interactions.data[:] = 7
    first.item_titles[0] = "changed"
    second = load_msweb()
    assert (second.interactions.data == 1).all()
    assert second.item_titles[0] == "regwiz"


def test_msweb_loads_from_a_package_inside_a_zip_file(tmp_path):
    package = files("alternant")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(package.rglob("*")):
            if path.suffix in (".py", ".npz"):
                archive.write(path, Path("alternant") / path.relative_to(package))
    code = (
        f"import sys; sys.path.insert(0, {str(packed)!r}); import alternant; "
        "print(alternant.__file__); print(alternant.datasets.load_msweb().interactions.shape)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    file, shape = result.stdout.splitlines()
    assert file.startswith(str(packed))
    assert shape == "(32710, 285)"


# --- planted ----------------------------------------------------------------------------------------------------------


def test_planted_has_the_shape_asked_for():
    data = planted(n_users=50, n_items=30, factors=4, interactions_per_user=6, random_state=0)
    assert isinstance(data.interactions, sparse.csr_array)
    assert data.interactions.dtype == np.float32
    assert data.interactions.shape == (50, 30)
    assert data.user_factors.shape == (50, 4)
    assert data.item_factors.shape == (30, 4)
    data.interactions.check_format(full_check=True)
    assert data.interactions.has_canonical_format


def test_every_planted_user_has_different_items_and_whole_counts_from_one():
    data = planted(n_users=50, n_items=30, interactions_per_user=6, random_state=0)
    assert (np.diff(data.interactions.indptr) == 6).all()
    assert (data.interactions.data >= 1).all()
    assert (data.interactions.data == np.round(data.interactions.data)).all()
    assert data.interactions.data.max() > 1


def test_a_seed_gives_one_planted_data_set_and_another_seed_another():
    first, again, other = (planted(40, 20, 3, interactions_per_user=5, random_state=seed) for seed in (3, 3, 4))
    for name in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    assert (first.interactions != again.interactions).nnz == 0
    assert (first.interactions != other.interactions).nnz > 0


def test_the_planted_data_of_a_seed_stay_what_they_are():
    """Recipe: planted(3, 6, 2, interactions_per_user=3, random_state=0). A change here changes everyone's results."""
    interactions = planted(3, 6, 2, interactions_per_user=3, random_state=0).interactions
    assert interactions.indices.tolist() == [0, 1, 2, 0, 1, 5, 0, 2, 5]
    assert interactions.data.tolist() == [1, 1, 1, 4, 1, 1, 1, 1, 1]


def test_without_noise_users_choose_the_items_of_greatest_utility():
    data = planted(30, 25, 4, interactions_per_user=7, noise=0, random_state=0)
    utility = data.user_factors @ data.item_factors.T
    best = np.sort(np.argsort(-utility, axis=1)[:, :7], axis=1)
    np.testing.assert_array_equal(data.interactions.indices.reshape(30, 7), best)


def test_the_more_noise_the_less_the_choice_follows_the_factors():
    def mean_utility_chosen(noise):
        data = planted(200, 100, 8, interactions_per_user=10, noise=noise, random_state=0)
        rows, columns = data.interactions.nonzero()
        return np.einsum("pf,pf->p", data.user_factors[rows], data.item_factors[columns]).mean()

    chosen = [mean_utility_chosen(noise) for noise in (0, 0.25, 1, 100)]
    assert chosen == sorted(chosen, reverse=True)
    assert abs(chosen[-1]) < 0.1  # all noise: the choice says nothing about the factors
    assert chosen[0] > 1.5  # the best 10 of 100, in standard deviations


def test_items_are_chosen_in_proportion_to_the_softmax_of_their_utilities():
    """One choice each of 40,000 equal users: the frequencies are the softmax's, within 4 standard deviations."""
    n_users, noise = 40_000, 0.8
    data = planted(n_users, 6, 1, interactions_per_user=1, noise=noise, random_state=1)
    # Users differ, so compare with the mean of their own softmaxes.
    weights = np.exp(data.user_factors @ data.item_factors.T / noise)
    expected = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    got = np.bincount(data.interactions.indices, minlength=6) / n_users
    assert (np.abs(got - expected) < 4 * np.sqrt(expected * (1 - expected) / n_users)).all()


def test_users_and_items_are_drawn_in_blocks_without_a_trace(monkeypatch):
    expected = planted(50, 40, 3, interactions_per_user=5, random_state=0).interactions
    monkeypatch.setattr(sys.modules[planted.__module__], "BLOCK", 7 * 40)
    got = planted(50, 40, 3, interactions_per_user=5, random_state=0).interactions
    assert (got != expected).nnz == 0


def test_a_user_may_choose_every_item():
    interactions = planted(4, 5, 2, interactions_per_user=5, random_state=0).interactions
    assert interactions.nnz == 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_users": 0}, ValueError, "n_users must be at least 1, got 0"),
        ({"n_items": -1}, ValueError, "n_items must be at least 1, got -1"),
        ({"factors": 2.5}, TypeError, r"factors must be a whole number, got 2\.5"),
        ({"interactions_per_user": 0}, ValueError, "interactions_per_user must be at least 1, got 0"),
        ({"interactions_per_user": 501}, ValueError, r"at most n_items \(500\), got 501"),
        ({"noise": -1}, ValueError, "noise must be at least 0 and finite, got -1"),
        ({"noise": float("nan")}, ValueError, "noise must be at least 0 and finite, got nan"),
    ],
)
def test_planted_refuses_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        planted(**arguments)
