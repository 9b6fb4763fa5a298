"""Lists in bulk: frames, streams, files, and indexes for approximate search."""

import csv
import functools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import every_model

from alternant import BiasedMF, CosineMF, ExplicitALS, ImplicitALS, Interactions, Popularity, datasets

pa = pytest.importorskip("pyarrow", reason="frames and files are pyarrow's here")
pq = pytest.importorskip("pyarrow.parquet", reason="frames and files are pyarrow's here")

M, N = 70, 90
MODELS = [ImplicitALS(factors=5, random_state=0), *every_model(factors=5, rating_range=(-0.5, 1.5))]


def table(seed=0):
    rng = np.random.default_rng(seed)
    return sp.random_array((M, N), density=0.2, rng=rng, format="csr",
                           data_sampler=lambda size: rng.integers(0, 2, size).astype(np.float32))  # fmt: skip


def named(seed=0):
    pairs = table(seed).tocoo()
    return Interactions.from_arrays([f"u{u:02}" for u in pairs.row], [f"i{i:02}" for i in pairs.col], pairs.data)


def fitted(model, raw):
    return type(model)(**model.get_params()).fit(named() if raw else table())


@pytest.fixture(params=MODELS, ids=lambda model: type(model).__name__)
def model(request):
    return fitted(request.param, raw=True)


def rows_of(frame):
    return list(zip(*(frame.column(name).to_pylist() for name in frame.column_names), strict=True))


def expected(model, users, k, **options):
    ids, scores = model.recommend(users, k, **options)
    return [
        (user, item, pytest.approx(score), rank)
        for user, listed, values in zip(users, ids.tolist(), scores.tolist(), strict=True)
        for rank, (item, score) in enumerate(zip(listed, values, strict=True), 1) if np.isfinite(score)
    ]  # fmt: skip


def test_a_frame_has_a_row_for_each_place_of_a_list(model):
    users = ["u03", "u01"]
    frame = model.recommend_frame(users, 4, library="pyarrow")
    assert frame.column_names == ["user", "item", "score", "rank"]
    assert rows_of(frame) == expected(model, users, 4)


def test_padding_is_left_out_and_titles_come_along(model):
    frame = model.recommend_frame(["u01"], N, library="pyarrow", candidate_items=["i00", "i01"], exclude_seen=False,
                                  titles={"i01": "One"})  # fmt: skip
    assert sorted(frame.column("item").to_pylist()) == ["i00", "i01"]
    assert dict(zip(frame.column("item").to_pylist(), frame.column("title").to_pylist(), strict=True)) == {
        "i00": None, "i01": "One"
    }  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_is_of_the_library_that_the_model_was_fitted_from(library):
    module = pytest.importorskip(library, reason=f"frames of {library}")
    make = module.table if library == "pyarrow" else module.DataFrame
    frame = make({"who": [1, 1, 2, 3], "what": ["a", "b", "a", "b"]})
    model = ImplicitALS(factors=2, random_state=0).fit(Interactions.from_frame(frame, user="who", item="what"))
    lists = model.recommend_frame([2, 3], 1)
    assert type(lists) is type(frame)
    titles = make({"item": ["a", "b"], "title": ["A", "B"]})
    assert "title" in list(getattr(model.recommend_frame([2], 1, titles=titles), "column_names", [])
                           or model.recommend_frame([2], 1, titles=titles).columns)  # fmt: skip


def test_without_raw_ids_frames_hold_row_numbers():
    model = fitted(MODELS[0], raw=False)
    frame = model.recommend_frame([5, 2], 3, library="pyarrow", titles=[f"t{i}" for i in range(N)])
    assert [row[:2] for row in rows_of(frame)] == [(row[0], row[1]) for row in expected(model, [5, 2], 3)]
    assert frame.column("title").to_pylist()[0] == f"t{frame.column('item').to_pylist()[0]}"


def test_new_users_are_called_by_their_own_ids():
    model = fitted(MODELS[0], raw=True)
    new = Interactions.from_arrays(["zoe", "zoe", "yan"], ["i01", "i02", "i03"])
    frame = model.recommend_frame(None, 2, user_items=new, library="pyarrow")
    assert frame.column("user").to_pylist() == ["yan", "yan", "zoe", "zoe"]


@pytest.mark.parametrize("raw", [True, False])
def test_blocks_are_the_bits_of_one_call(raw):
    for model in (fitted(one, raw) for one in MODELS):
        ids, scores = model.recommend(np.arange(M) if not raw else model.user_ids_, 7)
        blocks = list(model.recommend_all(7, block_size=32))
        assert [len(block[0]) for block in blocks] == [32, 32, 6]
        np.testing.assert_array_equal(np.concatenate([block[1] for block in blocks]), ids)
        np.testing.assert_array_equal(np.concatenate([block[2] for block in blocks]), scores)


def test_some_users_with_what_is_left_out_for_them():
    model = fitted(MODELS[0], raw=True)
    users = ["u09", "u01", "u30"]
    options = {"exclude_items": ["i00"], "candidate_items": [f"i{i:02}" for i in range(40)]}
    (block,) = model.recommend_all(5, users=users, **options)
    assert block[0].tolist() == users
    np.testing.assert_array_equal(block[1], model.recommend(users, 5, **options)[0])
    (block,) = model.recommend_all(5, users=users, exclude_seen=False)
    np.testing.assert_array_equal(block[1], model.recommend(users, 5, exclude_seen=False)[0])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_holds_what_the_frame_does(model, tmp_path, suffix):
    path = tmp_path / f"lists{suffix}"
    titles = {f"i{i:02}": f'title "{i}", it' for i in range(N)}
    rows = model.recommend_all(4, to=path, titles=titles, block_size=30)
    frame = rows_of(model.recommend_frame(model.user_ids_, 4, titles=titles, library="pyarrow"))
    if suffix == ".parquet":
        written = rows_of(pq.read_table(path))
    else:
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        assert head == ["user", "item", "score", "rank", "title"]
        written = [(user, item, pytest.approx(float(score), rel=1e-6), int(rank), title)
                   for user, item, score, rank, title in lines]  # fmt: skip
    assert written == frame
    assert rows == len(frame)
    assert list(tmp_path.iterdir()) == [path]


def test_columns_have_the_names_that_the_caller_chose(model, tmp_path):
    names = {"user": "userID", "item": "itemID", "score": "prediction", "title": "name"}
    titles = [f"t{i}" for i in range(N)]
    plain = model.recommend_frame(["u01"], 3, titles=titles, library="pyarrow")
    frame = model.recommend_frame(["u01"], 3, titles=titles, columns=names, library="pyarrow")
    assert frame.column_names == ["userID", "itemID", "prediction", "rank", "name"]
    assert frame.rename_columns(plain.column_names).equals(plain)
    path = tmp_path / "lists.csv"
    model.recommend_all(3, users=["u01"], to=path, columns={"item": "product"})
    assert path.read_text().splitlines()[0] == "user,product,score,rank"


def test_a_function_gets_frames():
    frames = []
    assert fitted(MODELS[0], raw=True).recommend_all(2, to=frames.append, library="pyarrow", block_size=40) == 2 * M
    assert [frame.num_rows for frame in frames] == [80, 60]


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "lists.csv"
    path.write_text("old")
    model = fitted(MODELS[0], raw=True)
    calls = []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return ImplicitALS._rank(model, *arguments)

    monkeypatch.setattr(model, "_rank", failing)
    with pytest.raises(MemoryError):
        model.recommend_all(2, to=path, block_size=30)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


MEMORY = """
import resource, sys, numpy as np
from alternant import ImplicitALS
rng = np.random.default_rng(0)
model = ImplicitALS(factors=8)
users = int(sys.argv[1])
model.user_factors = rng.standard_normal((users, 8), dtype=np.float32)
model.item_factors = rng.standard_normal((500, 8), dtype=np.float32)
list(model.recommend_all(2, users=[0], exclude_seen=False))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.recommend_all(20, to=sys.argv[2], exclude_seen=False, block_size=2000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.nightly
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is in kilobytes on Linux alone")
def test_memory_does_not_grow_with_the_number_of_users(tmp_path):
    few, many = (
        int(subprocess.run([sys.executable, "-c", MEMORY, str(users), str(tmp_path / "l.parquet")], check=True,
                           capture_output=True, text=True).stdout)
        for users in (4_000, 100_000)
    )  # fmt: skip
    # The lists of 96,000 more users take 46 MB as arrays of ids and scores and ranks, in kB:
    assert many - few < 30_000


def index_of(model, library, **options):
    reasons = {"hnswlib": "hnswlib has no wheels: pip builds it from source"}
    pytest.importorskip(library, reason=reasons.get(library, f"the index is one of {library}"))
    return model.to_index(library, **options)


def by_item(ids, scores):
    """Lists of all items as a table of scores."""
    table = np.empty_like(scores)
    np.put_along_axis(table, ids, scores, 1)
    return table


APPROXIMATE = [("faiss", {"factory": "HNSW32"}), ("hnswlib", {}), ("usearch", {})]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_exact_index_finds_what_the_model_recommends(raw, dtype):
    for one in [*MODELS, BiasedMF(factors=5, random_state=0)]:
        params = {"dtype": dtype} if "dtype" in one.get_params() else {}
        model = fitted(type(one)(**one.get_params() | params), raw)
        users = model.user_ids_ if raw else np.arange(M)
        ids, scores = model.recommend(users, 6)
        index = index_of(model, "faiss")
        found, theirs = index.search(users, 6)
        np.testing.assert_array_equal(found, ids)
        np.testing.assert_array_equal(theirs, scores)
        assert theirs.dtype == scores.dtype
        one_user = index.search(users[3], 2)
        assert one_user[0].tolist() == ids[3, :2].tolist()
        assert one_user[1].tolist() == scores[3, :2].tolist()


@functools.cache
def visitors_of_areas(kind):
    """The areas of a site as users, and 4,000 visitors as items, many of whom have seen the same and are equal."""
    visits = sp.csr_array(datasets.load_msweb().interactions[:4000].T)
    visits.data = np.random.default_rng(0).integers(0, 2, visits.nnz).astype(np.float32)
    if kind is ImplicitALS:
        visits.data[:] = 1
    steps = {"epochs": 5} if "epochs" in kind().get_params() else {}
    return kind(factors=16, random_state=0, **steps).fit(visits)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS, BiasedMF, CosineMF])
@pytest.mark.parametrize(("library", "options", "least"), [
    ("faiss", {"factory": "Flat"}, 1), ("faiss", {"factory": "HNSW32"}, 0.9), ("hnswlib", {}, 0.96),
    ("usearch", {}, 0.96),
])  # fmt: skip
def test_an_index_recalls_nearly_all_of_a_fitted_model(library, options, least, kind):
    model = visitors_of_areas(kind)
    m, n = len(model.user_factors), len(model.item_factors)
    index = index_of(model, library, **options)
    table = by_item(*model.recommend(np.arange(m), n, exclude_seen=False))
    for exclude_seen in (True, False):
        ids, scores = index.search(np.arange(m), 10, exclude_seen=exclude_seen)
        exact, theirs = model.recommend(np.arange(m), 10, exclude_seen=exclude_seen)
        np.testing.assert_array_equal(ids >= 0, exact >= 0)
        np.testing.assert_array_equal(scores, np.where(ids >= 0, np.take_along_axis(table, ids, 1), -np.inf))
        # Of equal items any will do, and of those that only the rounding of the library's own products tells apart.
        rounding = 8 * np.finfo(table.dtype).eps * np.abs(theirs[:, :1])
        recall = np.mean(scores >= theirs[:, -1:] - rounding)
        assert recall >= least


@pytest.mark.parametrize(("library", "options"), APPROXIMATE)
@pytest.mark.parametrize("kind", [ImplicitALS, BiasedMF, CosineMF])
def test_an_approximate_index_recalls_nearly_all(library, options, kind):
    """Of 3,000 items, in lists of 10; biases and lengths of very different size would mislead a search by distance."""
    rng = np.random.default_rng(0)
    model = kind(factors=16)
    model.user_factors = rng.standard_normal((200, 16)).astype(np.float32)
    model.item_factors = (rng.standard_normal((3000, 16)) * rng.gamma(2, 1, (3000, 1))).astype(np.float32)
    ids, _ = index_of(model, library, **options).search(np.arange(200), 10, exclude_seen=False)
    exact, _ = model.recommend(np.arange(200), 10, exclude_seen=False)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, exact, strict=True)])
    assert recall >= 0.95


@pytest.mark.parametrize("length", [0, 0.01])
@pytest.mark.parametrize(("library", "options"), APPROXIMATE)
def test_lists_are_full_although_most_items_are_equal(library, options, length):
    """Graphs may link equal items to one another alone, so that a search reaches some hundreds of the 2,000."""
    rng = np.random.default_rng(0)
    model = ImplicitALS(factors=16)
    model.user_factors = rng.standard_normal((60, 16)).astype(np.float32)
    model.item_factors = rng.standard_normal((2000, 16)).astype(np.float32)
    model.item_factors[rng.permutation(2000)[:1900]] = length * rng.standard_normal(16)
    seen = np.zeros((60, 2000), np.float32)
    seen[:20, :300] = seen[20:30, 500:] = 1
    table = by_item(*model.recommend(np.arange(60), 2000, exclude_seen=False))
    index = index_of(model, library, **options)
    for k in (10, 600, 10, 600):  # what a search could not find changes nothing of the next
        ids, scores = index.search(np.arange(60), k, user_items=sp.csr_array(seen))
        np.testing.assert_array_equal((ids >= 0).sum(axis=1), np.minimum(k, (seen == 0).sum(axis=1)))
        np.testing.assert_array_equal(scores, np.where(ids >= 0, np.take_along_axis(table, ids, 1), -np.inf))
        for listed, values, left_out in zip(ids, scores, seen, strict=True):
            found = listed[listed >= 0]
            assert not left_out[found].any()
            np.testing.assert_array_equal(found[np.lexsort((found, -values[: len(found)]))], found)
            assert len(set(found.tolist())) == len(found)


@pytest.mark.parametrize(("library", "options"), [
    ("faiss", {}), ("faiss", {"factory": "IVF8,Flat"}), ("usearch", {}), ("hnswlib", {}),
])  # fmt: skip
def test_items_reach_an_index_in_blocks(library, options, monkeypatch):
    """The lists are those of an index made at once, and no second copy of all items is made meanwhile."""
    rng = np.random.default_rng(0)
    sides = rng.standard_normal((40, 16)), rng.standard_normal((6_000, 16))
    model = CosineMF.from_factors(*sides)  # unit vectors in float32 would be a copy
    whole = index_of(model, library, **options).search(np.arange(40), 5, exclude_seen=False)
    monkeypatch.setattr("alternant.indexes.ADDED", 6_000)
    tracemalloc.start()
    index = index_of(model, library, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(index.search(np.arange(40), 5, exclude_seen=False)[0], whole[0])
    if "factory" not in options:  # which are trained on all items
        assert peak < 6_000 * 16 * 4


def test_an_index_leaves_out_what_was_seen_and_answers_vectors():
    pytest.importorskip("usearch", reason="the index is one of usearch")
    data = datasets.load_msweb().interactions[:2000]
    model = ImplicitALS(factors=8, random_state=0).fit(data)
    index = model.to_index("usearch")
    ids, _ = index.search(np.arange(100), 10)
    for user, listed in enumerate(ids):
        assert not set(listed) & set(data[[user]].indices)
    by_vector = index.search(queries=model.query_vectors(np.arange(100)), k=10)[0]
    np.testing.assert_array_equal(by_vector, index.search(np.arange(100), 10, exclude_seen=False)[0])
    folded = index.search(user_items=data[:3], k=5)[0]
    assert folded.shape == (3, 5)


@pytest.mark.parametrize("ids", [["a", "b"], [1, 2], [("a", 1), ("b", 2)]])
def test_a_frame_of_a_single_user_names_it(ids):
    pytest.importorskip("pandas", reason="its frames take tuples")
    model = Popularity().fit(Interactions.from_arrays(ids, ids))
    frame = model.recommend_frame(ids[0], 2, library="pandas")
    assert frame["user"].tolist() == ids[:1]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda m: m.recommend_frame("nobody", library="pyarrow"), IndexError, "users must be user ids of the fit"),
    (lambda m: m.recommend_frame(["u01"], titles={"A", "B"}), TypeError, "got a set, which is unordered: pass a list"),
    (lambda m: m.recommend_frame(["u01"], titles="x"), TypeError, "titles must be a mapping"),
    (lambda m: m.recommend_frame(["u01"], titles=["a"]), ValueError, "one title for each of the 90 items"),
    (lambda m: m.recommend_frame(["u01"], titles={1: "a"}), ValueError, "titles must name items by their ids"),
    (lambda m: m.recommend_frame(["u01"], titles=[("u1", "A")] * 90), TypeError, r"single values, got \('u1', 'A'\)"),
    (lambda m: m.recommend_frame(["u01"], library="excel"), ValueError, "library must be one of"),
    (lambda m: m.recommend_all(0), ValueError, "k must be at least 1"),
    (lambda m: m.recommend_all(block_size=0), ValueError, "block_size must be at least 1"),
    (lambda m: m.recommend_all(to=3), TypeError, "to must be the name of a .parquet or .csv file"),
    (lambda m: m.recommend_all(to="x.xlsx"), ValueError, "to must end in .parquet or .csv"),
    (lambda m: m.recommend_all(to="nowhere/x.csv"), FileNotFoundError, "there is no folder 'nowhere'"),
    (lambda m: m.recommend_all(titles={}), ValueError, "titles, columns and library apply to frames and files"),
    (lambda m: m.recommend_frame(["u01"], columns={"title": "name"}), ValueError, "rename some of .*, got 'title'"),
    (lambda m: m.recommend_frame(["u01"], columns={"user": "item"}), ValueError, "distinct names, got item, item"),
    (lambda m: m.recommend_all(to="a.csv", columns=["who"]), TypeError, "columns must map names to names"),
    (lambda m: m.to_index("annoy"), ValueError, "library must be one of 'faiss', 'hnswlib', 'usearch'"),
    (lambda m: m.to_index("faiss", trees=3), TypeError, "has the options factory, got 'trees'"),
    (lambda m: m.to_index("faiss", factory="Flatt"), ValueError, "factory must be a string for faiss.index_factory"),
    (lambda m: m.to_index("faiss").search(), ValueError, "user_items must hold the interactions of new users"),
    (lambda m: m.to_index("faiss").search(queries=np.ones(3)), ValueError, "queries must be numbers with"),
])  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_sentence(call, error, message):
    pytest.importorskip("faiss", reason="some of the indexes are faiss's")
    model = fitted(MODELS[0], raw=True)
    with pytest.raises(error, match=message):
        call(model)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    model = fitted(MODELS[0], raw=True)
    for library, package in (("faiss", "faiss-cpu"), ("hnswlib", "hnswlib"), ("usearch", "usearch")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ImportError, match=f"pip install {package}"):
            model.to_index(library)


# An index and later changes of its model


def searchable(kind, **params):
    pytest.importorskip("usearch", reason="the index is one of usearch")
    data = Interactions.from_arrays([1, 1, 2, 2, 3, 3], ["a", "b", "b", "c", "c", "a"], [1, 0, 1, 1, 0, 1])
    model = kind(**{"factors": 4, "random_state": 0, **params}).fit(data)
    return model, model.to_index("usearch")


def test_an_index_of_items_that_a_fit_replaced_is_refused():
    for ids in (["d", "e", "f"], ["a", "b", "c"], ["a"], ["a", "b", "c", "d"]):
        model, index = searchable(ImplicitALS)
        model.fit(Interactions.from_arrays([1] * len(ids), ids, range(1, len(ids) + 1)))
        for options in ({"users": 1}, {"queries": np.ones(4)}):
            with pytest.raises(ValueError, match=r"items have changed since: build it again with model\.to_index\('us"):
                index.search(**options)
    model, index = searchable(ImplicitALS)
    model.item_factors = model.item_factors.copy()  # equal ones
    assert index.search(1, 2)[0].tolist() == model.recommend(1, 2)[0].tolist()
    model.item_factors[0] += 1
    with pytest.raises(ValueError, match="items have changed since"):
        index.search(1)


def test_an_index_of_items_that_events_moved_is_refused():
    model, index = searchable(CosineMF)
    right = index.search(2, 1)
    model.update(1, "c", float("nan"))  # ignored
    assert index.search(2, 1) == right
    model.update(1, "c", 1)
    with pytest.raises(ValueError, match="items have changed since"):
        index.search(2, 1)


def test_an_index_serves_users_and_beside_items_that_came_later():
    model, index = searchable(CosineMF, update_items=False)
    model.update([4, 4, 1], ["a", "new", "newer"], [1, 0, 1])
    ids, scores = index.search([4, 1], 3)
    exact, theirs = model.recommend([4, 1], 3, exclude_items=["new", "newer"])
    assert ids.tolist() == exact.tolist()
    assert scores.tolist() == theirs.tolist()
    model, index = searchable(ImplicitALS)
    model.partial_fit_users([4], sp.csr_array([[1.0, 0, 0]]))
    assert index.search(4, 2)[0].tolist() == model.recommend(4, 2)[0].tolist()
    model.partial_fit_items(["new"], sp.csr_array([[1.0, 0, 0, 1]]))
    assert index.search(1, 2)[0].tolist() == model.recommend(1, 2, exclude_items=["new"])[0].tolist()
    model.partial_fit_items(["a"], sp.csr_array([[0, 0, 0, 9.0]]))
    with pytest.raises(ValueError, match="items have changed since"):
        index.search(1)


@pytest.mark.parametrize("users", [
    [1, 2, 7], [1.0, 2, 7], np.array([1, 2, 7], np.uint64), np.array([1, 2, 7], np.int32),
], ids=["ints", "floats", "uint64", "int32"])  # fmt: skip
def test_the_column_of_users_is_of_one_type_whatever_was_asked(users, tmp_path):
    pl = pytest.importorskip("polars", reason="frames tell the types of their columns")
    pq = pytest.importorskip("pyarrow.parquet", reason="and so do Parquet files")
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions.from_arrays([1, 2, 3], ["a", "b", "c"]))
    frame = model.recommend_frame(users, 2, unknown="cold_start", library="polars")
    assert frame["user"].dtype == pl.Int64 == model.recommend_frame([1, 2], 2, library="polars")["user"].dtype
    model.recommend_all(2, users=users, unknown="cold_start", to=tmp_path / "x.parquet")
    assert str(pq.read_schema(tmp_path / "x.parquet").field("user").type) == "int64"


@pytest.mark.parametrize("stranger", ["zz", 2**65, ("a", 1), b"x"], ids=repr)
@pytest.mark.parametrize("to", ["x.parquet", "function"])
def test_users_of_several_types_are_refused_before_the_work(stranger, to, tmp_path, monkeypatch):
    pytest.importorskip("polars", reason="its columns are of one type")
    pytest.importorskip("pyarrow", reason="and those of Parquet")
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions.from_arrays([1, 2, 3], ["a", "b", "c"]))
    monkeypatch.setattr("alternant.models._bulk.Work.blocks", lambda *_: pytest.fail("work before the refusal"))
    written = []
    with pytest.raises(TypeError, match="must be of one type, such as strings or 64-bit numbers"):
        model.recommend_all(
            2, users=[1, stranger], unknown="cold_start", block_size=1, library="polars",
            to=written.append if to == "function" else tmp_path / to,
        )  # fmt: skip
    assert not written
    assert not list(tmp_path.iterdir())


def test_a_carriage_return_in_an_id_survives_a_file_of_lists(tmp_path):
    ids = ["x\ry", "b\nc", 'd"e', "f,g", "h"]
    data = Interactions.from_arrays([*ids, *ids], ["p"] * 5 + ["q"] * 5)
    model = ImplicitALS(factors=2, random_state=0).fit(data)
    model.recommend_all(1, to=tmp_path / "lists.csv", exclude_seen=False)
    again = Interactions.from_file(tmp_path / "lists.csv", user="user", item="item")
    assert again.user_ids.tolist() == sorted(ids)
    assert b"\r\n" not in (tmp_path / "lists.csv").read_bytes()
