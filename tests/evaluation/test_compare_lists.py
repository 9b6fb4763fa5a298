"""Lists of several models side by side."""

import numpy as np
import pytest
from refusal import refuses
from scipy import sparse

from alternant import EASE, ImplicitALS, Interactions, Popularity
from alternant.evaluation import compare_lists

rng = np.random.default_rng(0)
DATA = Interactions.from_arrays(
    [f"u{user}" for user in rng.integers(0, 40, 500)], [f"i{item}" for item in rng.integers(0, 20, 500)]
)
TITLES = {item: f"Title of {item}" for item in DATA.item_ids[1:].tolist()}  # the first has none


@pytest.fixture(scope="module")
def models():
    return {"als": ImplicitALS(factors=4, random_state=0).fit(DATA), "popular": Popularity().fit(DATA)}


def test_lists_are_those_of_the_models_and_common_items_are_in_all(models):
    found = compare_lists(models, "u3", 5, titles=TITLES)
    for name, model in models.items():
        ids, scores = model.recommend("u3", 5)
        assert found.lists[name].tolist() == ids.tolist()
        np.testing.assert_array_equal(found.scores[name], scores)
    assert found.common == set(found.lists["als"]) & set(found.lists["popular"])
    row = DATA.user_ids.tolist().index("u3")
    assert found.history == DATA.item_ids[DATA.matrix[[row]].indices].tolist()
    assert "u3" in str(found)


def test_moved_counts_places_against_the_first_list(models):
    found = compare_lists(models, "u3", 20)
    first, second = found.lists["als"].tolist(), found.lists["popular"].tolist()
    for item in first:
        assert found.moved("popular", item) == first.index(item) - second.index(item)
        assert found.moved("als", item) == 0
    short = compare_lists(models, "u3", 2)
    assert {short.moved("popular", item) for item in short.lists["popular"].tolist()} - {0, 1, -1} <= {None}


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_the_frame_has_a_row_for_each_item_of_each_list(models, library):
    pytest.importorskip(library)
    found = compare_lists(models, "u3", 3, titles=TITLES)
    frame = found.to_frame(library)
    columns = frame.to_pydict() if library == "pyarrow" else {name: frame[name].to_list() for name in frame.columns}
    assert columns["model"] == ["als"] * 3 + ["popular"] * 3
    assert columns["item"] == [*found.lists["als"], *found.lists["popular"]]
    assert columns["rank"] == [1, 2, 3, 1, 2, 3]
    assert columns["title"] == [TITLES.get(item) for item in columns["item"]]
    assert columns["in_all"] == [item in found.common for item in columns["item"]]
    assert not any(columns["had"])


def test_a_new_user_and_seen_items(models):
    rows = sparse.csr_array(([1.0, 1.0], ([0, 0], [2, 5])), shape=(1, 20))
    found = compare_lists([models["als"], models["als"]], None, 20, user_items=rows, exclude_seen=False)
    assert list(found.lists) == ["ImplicitALS 1", "ImplicitALS 2"]
    assert found.history == DATA.item_ids[[2, 5]].tolist()
    assert str(found).count("(had)") == 5, "two in each list, and the legend"
    assert found.common == set(DATA.item_ids)


def test_what_cannot_be_compared_is_refused(models):
    other = EASE().fit(Interactions.from_arrays(["u3", "u4"], ["i1", "other"]))
    refuses(ValueError, "models must know the same items", lambda: compare_lists([models["als"], other], "u3"))
    refuses(ValueError, "models must hold at least one model", lambda: compare_lists([], "u3"))
    refuses(TypeError, "models must be alternant models, got str", lambda: compare_lists(["als"], "u3"))
    refuses(ValueError, "user must be a single id", lambda: compare_lists(models, ["u3", "u4"]))
    refuses(IndexError, "u99", lambda: compare_lists(models, "u99"))
    two = sparse.csr_array(np.ones((2, 20)))
    refuses(ValueError, "user_items must have 1 row", lambda: compare_lists(models, None, user_items=two))


def test_one_list_is_not_compared_with_itself(models):
    shown = str(compare_lists(models["als"], "u3", 3))
    assert "*" not in shown
    assert "moved" not in shown
    assert "in all lists" not in shown
