"""Many threads and one model: readers see it before or after a change, never between, and changes exclude each other.

Each test runs for a fraction of a second, with threads that switch every microsecond.
"""

import copy
import multiprocessing
import os
import pickle
import sys
import threading
import time
from functools import cached_property, partial

import numpy as np
import pytest
import scipy.sparse as sp
from every_model import small

from alternant import (
    CosineMF,
    ImplicitALS,
    Interactions,
    LogisticMF,
    Popularity,
    use_backend,
)
from alternant._utils.pool import Pool
from alternant.data.ids import Ids
from alternant.evaluation import evaluate
from alternant.kernels._registry import active_backend
from alternant.models import MODELS as REGISTRY
from alternant.models._base import FactorModel

SECONDS = 0.2
rng = np.random.default_rng(0)
COUNTS = sp.csr_array(np.where(rng.random((40, 25)) < 0.3, rng.integers(1, 5, (40, 25)), 0).astype(float))
SWIPES = sp.csr_array((rng.integers(0, 2, COUNTS.nnz).astype(float), COUNTS.indices, COUNTS.indptr), shape=COUNTS.shape)
MODELS = {
    cls.__name__: (partial(small, cls, epochs=2), SWIPES if cls.traits.feedback == "likes" else COUNTS)
    for cls in REGISTRY.values()
}
# Who can append what.
APPENDING = [
    (name, kind) for name, (make, _) in MODELS.items() for kind in ("user", "item")
    if hasattr(make(), f"partial_fit_{kind}s")
]  # fmt: skip


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run(*functions):
    """Call each function in a thread of its own; raise what one of them raises."""
    errors = []

    def call(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    if errors:
        raise errors[0]


def against(change, *reads, seconds=SECONDS):
    """Let one thread change and others read, over and over."""
    end, stop = time.monotonic() + seconds, threading.Event()

    def writer():
        try:
            step = 0
            while time.monotonic() < end:
                change(step)
                step += 1
        finally:
            stop.set()

    def reader(read):
        while not stop.is_set():
            read()
        read()

    run(writer, *(lambda read=read: reader(read) for read in reads))


def named(users, items, values=None):
    return Interactions.from_arrays(users, items, values)


def interactions_of(matrix, text=False):
    rows, columns = matrix.nonzero() if matrix is COUNTS else matrix.tocoo().coords
    values = matrix.tocoo().data
    if text:
        return Interactions.from_arrays([f"u{u:02}" for u in rows], [f"i{i:02}" for i in columns], values)
    return Interactions.from_arrays(rows * 10, columns * 10, values)


def answer(model, user=None):
    """What a few methods say, as bytes; all of it must be of one state."""
    user = (0 if model.user_ids_ is None else model.user_ids_[0]) if user is None else user
    ids, scores = model.recommend(user, 5)
    return ids.tolist(), scores.tobytes()


# Writers against writers


@pytest.mark.parametrize("trial", range(5))
def test_threads_that_learn_events_neither_crash_nor_lose_users(trial):
    model = CosineMF(factors=8, random_state=trial)
    model.update(0, 0, 1)

    def learn(thread):
        for x in range(100):
            model.update(1 + 100 * thread + x, x % 50, x % 2)

    run(*(lambda thread=thread: learn(thread) for thread in range(4)))
    assert model.user_factors.shape == (401, 8)
    assert np.isfinite(model.user_factors).all()
    users, items = model.interactions_.positions()
    assert set(zip(users.tolist(), items.tolist(), strict=True)) == {(0, 0)} | {
        (1 + 100 * thread + x, x % 50) for thread in range(4) for x in range(100)
    }


@pytest.mark.parametrize("text", [False, True])
def test_updates_of_separate_users_in_threads_equal_those_in_one_thread(text):
    """Where items stay, the users that one thread teaches do not depend on the others."""
    name = (lambda kind, x: f"{kind}{x}") if text else (lambda kind, x: x)
    events = [[(name("u", 100 * t + x % 7), name("i", x % 12), x % 2) for x in range(150)] for t in range(4)]
    start = CosineMF(factors=4, random_state=0, update_items=False)
    start.fit(named([name("u", u) for u in range(12)], [name("i", i) for i in range(12)], np.arange(12) % 2))
    serial, parallel = copy.deepcopy(start), copy.deepcopy(start)
    for event in (event for own in events for event in own):
        serial.update(*event)
    run(*(lambda own=own: [parallel.update(*event) for event in own] for own in events))
    assert set(parallel.user_ids_.tolist()) == set(serial.user_ids_.tolist())
    users = sorted(serial.user_ids_.tolist())
    np.testing.assert_array_equal(parallel.query_vectors(users), serial.query_vectors(users))
    np.testing.assert_array_equal(parallel.recommend(users, 5)[0], serial.recommend(users, 5)[0])


@pytest.mark.parametrize(("name", "kind"), APPENDING)
def test_no_row_that_threads_add_is_lost(name, kind):
    make, matrix = MODELS[name]
    model = make().fit(interactions_of(matrix, text=True))
    rows = sp.csr_array((matrix if kind == "user" else sp.csr_array(matrix.T))[[0]])
    known = getattr(model, f"{kind}_ids_").tolist()
    run(*(lambda t=t: [getattr(model, f"partial_fit_{kind}s")([f"new{t}-{x}"], rows)
                       for x in range(6)] for t in range(4)))  # fmt: skip
    ids = getattr(model, f"{kind}_ids_").tolist()
    assert sorted(ids) == sorted(known + [f"new{t}-{x}" for t in range(4) for x in range(6)])
    factors = getattr(model, f"{kind}_factors")
    assert len(factors) == len(ids) == model.interactions_.shape[kind == "item"]
    if name.endswith(("ALS", "EASE")):  # the others begin with the mean user, which moves
        expected = getattr(model, f"fold_in_{kind}s")(rows)
        np.testing.assert_array_equal(factors[len(known) :], np.repeat(np.asarray(expected), 24, axis=0))


def test_no_interaction_that_threads_append_is_lost():
    data = named([0], [0])
    run(*(lambda t=t: [data.append(named([10 * x + t], [x])) for x in range(25)] for t in range(4)))
    assert data.nnz == 1 + 100 - 1  # the pair of user 0 and item 0 came twice
    assert data.matrix.sum() == 101
    users, items = data.matrix.nonzero()
    pairs = set(zip(data.user_ids[users].tolist(), data.item_ids[items].tolist(), strict=True))
    assert pairs == {(10 * x + t, x) for t in range(4) for x in range(25)}


def test_parameters_that_threads_set_together_stay_together():
    model = ImplicitALS(factors=4)
    shown = {repr(ImplicitALS(factors=f, iterations=n)) for f, n in ((4, 8), (1, 1), (2, 2))}

    def change(step):
        model.set_params(factors=1 + step % 2, iterations=1 + step % 2)

    def read():
        params = model.get_params()
        assert params["factors"] == params["iterations"] or (params["factors"], params["iterations"]) == (4, 8)
        assert repr(model) in shown

    against(change, read, read)


# Readers against writers


@pytest.mark.parametrize("text", [False, True])
def test_a_list_during_updates_is_that_of_the_user(text):
    name = (lambda x: f"n{x}") if text else (lambda x: x)
    users, items = [2, 2, 2, 3, 3, 5, 5, 5], [10, 20, 30, 40, 50, 40, 50, 60]
    data = named([name(u) for u in users], [name(i) for i in items], [1, 1, 1, 0, 1, 0, 1, 1])
    model = CosineMF(factors=4, random_state=0, update_items=False).fit(data)
    right = answer(model, name(2))

    def read():
        assert answer(model, name(2)) == right
        assert model.predict(name(2), name(10)) == pair

    pair = model.predict(name(2), name(10))
    against(lambda step: model.update(name(1000 + step), name(60), 1), read, read)


def test_readers_see_all_of_an_event_or_nothing():
    """The item that moves, the user that moves, and what the user has seen, belong together."""
    model = CosineMF(factors=32, random_state=0, learning_rate=1.0).fit(SWIPES)
    twin = copy.deepcopy(model)
    events = [(3, 5, x % 2) if x % 4 else (40 + x // 4, 25 + x // 4, 1) for x in range(400)]
    states = {}

    def read_all(of):
        return of.predict(3, 5), of.recommend(3, 4)[1].tobytes(), of.query_vectors(3).tobytes()

    def note():
        for at, one in enumerate(read_all(twin)):
            states.setdefault(at, set()).add(one)

    note()
    for event in events:
        twin.update(*event)
        note()
    done = threading.Event()

    def write():
        for event in events:
            model.update(*event)
        done.set()

    def read():
        while not done.is_set():
            for at, one in enumerate(read_all(model)):
                assert one in states[at]

    run(write, read, read)
    np.testing.assert_array_equal(model.user_factors, twin.user_factors)
    np.testing.assert_array_equal(model.item_factors, twin.item_factors)


def test_factors_read_during_updates_are_a_consistent_snapshot():
    """Two users and their item learn in one batch: what is read has all of it or nothing."""
    model = CosineMF(factors=64, random_state=0).fit(SWIPES)
    twin = copy.copy(model)
    states = {twin.user_factors[:2].tobytes()}
    for step in range(300):
        twin.update([0, 1], [7, 7], [step % 2, 1])
        states.add(twin.user_factors[:2].tobytes())
    steps = iter(range(300))

    def change(_):
        step = next(steps, None)
        if step is not None:
            model.update([0, 1], [7, 7], [step % 2, 1])

    def read():
        assert model.user_factors[:2].tobytes() in states

    against(change, read, read)


@pytest.mark.parametrize("name", MODELS)
def test_results_during_fits_are_those_of_a_single_fit(name):
    """Two data sets of other ids, users and items: a mix of the two is found at once."""
    make, matrix = MODELS[name]
    one, other = interactions_of(matrix), interactions_of(sp.csr_array(matrix[::-1, ::-1][:30, :20]))
    model = make()
    right = []
    for data in (one, other):
        model.fit(data)
        right.append((model.recommend([0, 190], 3)[0].tolist(), model.recommend([0, 190], 3)[1].tobytes()))
        right[-1] += model.similar_items(100, 3)[1].tobytes(), model.predict(0, 100)

    def read_lists():
        ids, scores = model.recommend([0, 190], 3)
        assert (ids.tolist(), scores.tobytes()) in [state[:2] for state in right]

    def read_pairs():
        assert model.predict(0, 100) in [state[3] for state in right]
        assert model.similar_items(100, 3)[1].tobytes() in [state[2] for state in right]

    against(lambda step: model.fit((one, other)[step % 2]), read_lists, read_pairs)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "Popularity"])
def test_reading_methods_work_while_users_are_added(name, tmp_path):
    make, matrix = MODELS[name]
    data = interactions_of(matrix, text=True)
    model = make().fit(data)
    rows, right = sp.csr_array(matrix[:1]), answer(model, "u03")
    blocks = next(iter(model.recommend_all(3, users=["u03"])))[2].tobytes()
    paths = [tmp_path / f"{thread}.safetensors" for thread in range(2)]

    def change(step):
        model.partial_fit_users([f"new{step % 50}"], rows)

    def read(path):
        assert answer(model, "u03") == right
        model.save(path)
        for loaded in (type(model).load(path), pickle.loads(pickle.dumps(model)), copy.copy(model)):
            assert len(loaded.user_ids_) == len(loaded.user_factors) == loaded.interactions_.shape[0]
            assert answer(loaded, "u03") == right

    def read_others():
        assert next(iter(model.recommend_all(3, users=["u03"])))[2].tobytes() == blocks
        total = sum(len(users) for users, _, _ in model.recommend_all(3, block_size=8))
        assert total >= 40
        model.fold_in_users(rows)
        model.cold_start(3)
        model.recommend_frame(["u03"], 3)
        model.similar_users("u03", 3)
        model.score(matrix)
        evaluate(model, data, k=3, exclude_seen=False, metrics=["ndcg"])

    against(change, lambda: read(paths[0]), lambda: read(paths[1]), read_others)


def test_explanations_add_up_while_users_are_added():
    model = MODELS["ImplicitALS"][0]().fit(interactions_of(COUNTS))
    before = model.explain(0, 100)

    def read():
        found = model.explain(0, 100)
        assert found.score == before.score
        np.testing.assert_array_equal(found.contributions, before.contributions)

    against(lambda step: model.partial_fit_users([10_000 + step], COUNTS[:1]), read, read)


@pytest.mark.parametrize("library", ["faiss", "hnswlib", "usearch"])
def test_an_index_is_searched_while_its_model_learns(library):
    reasons = {"hnswlib": "hnswlib has no wheels: pip builds it from source"}
    pytest.importorskip(library, reason=reasons.get(library))
    model = CosineMF(factors=4, random_state=0, update_items=False).fit(SWIPES)
    index = model.to_index(library)
    right = index.search(3, 5)[0].tolist()

    def change(step):
        model.update(40 + step % 100, 25 + step % 30, 1)  # new items too, which the index does not have

    def read():
        assert index.search(3, 5)[0].tolist() == right

    against(change, read, read)


def test_a_fit_sees_all_of_an_append_or_nothing():
    data = named(["u0"] * 3, ["i0", "i1", "i2"])

    def change(step):
        data.append(named([f"u{step + 1}"] * 3, ["i0", "i1", f"new{step}"]))

    def read():
        model = Popularity().fit(data)
        assert len(model.user_ids_) == len(model.user_factors) == model.interactions_.shape[0]
        np.testing.assert_array_equal(np.diff(model.interactions_.indptr), 3)
        report = data.describe()
        assert report.n_interactions == 3 * report.n_users == report.n_rows
        assert len(data.to_frame("pandas")) % 3 == 0
        assert len(data[:1].user_ids) == 1

    against(change, read, read)


# Changes are seen when they are done


def test_a_callback_sees_its_iteration_and_other_threads_the_model_before():
    model = MODELS["ImplicitALS"][0]().fit(COUNTS)
    before = answer(model)
    inside, outside = [], []

    def look():
        outside.append(answer(model))

    def callback(state):
        inside.append(answer(model))
        thread = threading.Thread(target=look)  # which must not wait for the fit either
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        np.testing.assert_array_equal(model.user_factors, state.user_factors)

    model.set_params(random_state=7, iterations=3).fit(COUNTS, callback=callback)
    assert len(inside) == len(outside) == 3
    assert set(map(str, outside)) == {str(before)}
    assert str(before) not in set(map(str, inside))
    assert inside[-1] == answer(model)


def fitted_attributes(model):
    names = [name for name in dir(model) if name.endswith(("_", "_factors")) and not name.startswith("_")]
    return {name: getattr(model, name, None) for name in names}


@pytest.mark.parametrize("name", MODELS)
def test_other_threads_read_the_attributes_of_the_model_before(name):
    make, data = MODELS[name]
    model = make().fit(interactions_of(data))
    before, outside, waited = fitted_attributes(model), [], []

    def look():
        outside.append(fitted_attributes(model))

    def set_by_hand():
        model.interactions_ = None
        waited.append(len(outside))

    writer = threading.Thread(target=set_by_hand)

    def callback(state):
        if not outside:
            writer.start()
        run(look)
        assert model.history_ == state.history
        np.testing.assert_array_equal(model.user_factors, state.user_factors)
        assert len(model.user_factors) == model.interactions_.shape[0] == 20

    fit_more = {"callback": callback} if "history_" in before else {}
    if not fit_more:  # at the last moment before the fit is done
        model._assign = lambda **state: (type(model)._assign(model, **state), writer.start(), run(look))
    model.fit(data[:20], **fit_more)
    writer.join(20)
    assert {"user_factors", "item_factors", "interactions_", "user_ids_", "backend_"} <= set(before)
    assert waited == [len(outside)]  # until the fit was done
    assert model.interactions_ is None
    for seen in outside:
        for one, value in before.items():
            assert seen[one] is value or np.array_equal(seen[one], value), one  # ids and live vectors are views


def test_the_last_iteration_of_an_interrupted_fit_is_seen_by_all():
    model = MODELS["ImplicitALS"][0]().fit(COUNTS)
    states = []

    def callback(state):
        states.append(state)
        if state.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.set_params(iterations=5).fit(COUNTS[:20], callback=callback)
    run(lambda: np.testing.assert_array_equal(model.user_factors, states[1].user_factors))
    run(lambda: states.append(model.history_))
    assert states[-1] == states[1].history == model.history_


def test_a_failed_fit_leaves_the_model_that_other_threads_see():
    model = MODELS["BiasedMF"][0]().fit(COUNTS)
    before = answer(model)
    model.set_params(learning_rate_decay=1e30)  # the first epoch works, and is dropped with the second one

    def change(_):
        with pytest.raises(OverflowError):
            model.fit(COUNTS)

    def read():
        assert answer(model) == before

    against(change, read, read)


def test_recommend_all_uses_the_model_as_it_was_at_the_call():
    model = CosineMF(factors=4, random_state=0).fit(SWIPES)
    for _ in range(2):  # before the vectors are the model's own, and after
        right = [scores.tobytes() for _, _, scores in model.recommend_all(3, block_size=8)]
        blocks = model.recommend_all(3, block_size=8)
        got = [next(blocks)[2].tobytes()]
        model.update(list(range(60)), [3] * 60, [x % 2 for x in range(60)])
        assert got + [scores.tobytes() for _, _, scores in blocks] == right


def test_an_event_that_fails_leaves_no_row_behind(monkeypatch):
    model = CosineMF(factors=4, random_state=0).fit(interactions_of(SWIPES, text=True))
    for new in ("first", ["first", "second"]):
        monkeypatch.setattr(CosineMF, "_learn", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        with pytest.raises(MemoryError):
            model.update(new, "new item", 1)
        monkeypatch.undo()
        assert (len(model.user_factors), len(model.item_factors)) == COUNTS.shape
        assert model.interactions_.shape == COUNTS.shape
    model.update("first", "new item", 1)
    assert model.user_ids_[-1] == "first"


def test_methods_that_read_may_call_each_other_while_a_writer_waits():
    class Curious(CosineMF):
        def _link(self, scores, **state):
            waiting.set()
            time.sleep(0.01)
            self.similar_items(0, 2)  # takes no lock that the writer could have got before
            return super()._link(scores, **state)

    waiting = threading.Event()
    model = Curious(factors=4, random_state=0).fit(SWIPES)
    run(lambda: [model.recommend(0, 3) for _ in range(3)],
        lambda: waiting.wait(10) and [model.update(0, 0, 1) for _ in range(200)])  # fmt: skip


# What is looked up and kept


@pytest.mark.parametrize("text", [False, True])
def test_ids_that_grow_in_several_places_stay_apart(text):
    """They share memory and a table; each knows its own ids only, and none ever changes."""
    name = (lambda x: f"n{x}") if text else (lambda x: x)
    first = Ids(np.array([name(x) for x in range(5)], object if text else np.int64))
    made = {}

    def grow(thread):
        own = first
        for x in range(50):
            own = own.extended([name(100 * thread + x)])
            assert own.number(name(100 * thread + x)) == 5 + x
        made[thread] = own

    run(*(lambda thread=thread: grow(thread) for thread in range(1, 5)))
    assert first.values.tolist() == [name(x) for x in range(5)]
    for thread, own in made.items():
        expected = [name(x) for x in range(5)] + [name(100 * thread + x) for x in range(50)]
        assert own.values.tolist() == expected
        assert [own.number(one) for one in expected] == list(range(55))
        assert own.find(np.array(expected, own.values.dtype)).tolist() == list(range(55))
        assert all(own.number(name(100 * other)) == -1 for other in made if other != thread)
        assert first.number(name(100 * thread)) == -1


def test_a_pool_hands_no_memory_to_two():
    pool = Pool()

    def take(thread):
        for _ in range(300):
            array = pool.array((16,), np.dtype(np.int64))
            array[:] = thread
            time.sleep(0)
            assert (array == thread).all()

    run(*(lambda thread=thread: take(thread) for thread in range(4)))


# Copies, pickles and forks


@pytest.mark.parametrize("name", MODELS)
def test_copies_and_pickles_have_locks_of_their_own(name):
    make, matrix = MODELS[name]
    model = make().fit(matrix)
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other._guard is not model._guard
        assert answer(other) == answer(model)
        with model._guard.writer:
            run(other.set_params)
    data = interactions_of(matrix)
    for other in (copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert other._guard is not data._guard
        with data._guard.writer:
            run(lambda other=other: other.append(named([-1], [-1])))
    assert data.shape == matrix.shape


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_holds_is_copied_without_what_readers_cache(name):
    """A copy that goes through an attribute dictionary fails when another thread adds to it meanwhile."""
    make, data = MODELS[name]
    model = make().fit(data)
    held = [value for value in model._snapshot().__dict__.values() if hasattr(value, "__dict__")]
    for value in held:
        cached = {one for one in dir(type(value)) if isinstance(getattr(type(value), one), cached_property)}
        for one in cached:
            getattr(value, one)
        assert not cached or not cached & set(value.__reduce_ex__(4)[2])
    assert pickle.loads(pickle.dumps(model)).user_factors.tobytes() == model.user_factors.tobytes()


@pytest.mark.parametrize("name", ["ImplicitALS", "EASE"])
def test_a_model_is_copied_while_others_read_it(name):
    make, data = MODELS[name]
    fitted = pickle.dumps(make().fit(data))
    fresh = [pickle.loads(fitted)]

    def change(_):
        fresh[0] = pickle.loads(fitted)

    def read():
        fresh[0].fold_in_users(COUNTS[:2])
        fresh[0].recommend([0, 1], 3)
        _ = getattr(fresh[0].user_factors, "has_canonical_format", True)

    against(change, read, lambda: copy.deepcopy(fresh[0]), lambda: pickle.dumps(fresh[0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_forked_during_updates_has_a_consistent_model():
    model = CosineMF(factors=4, random_state=0, num_threads=1).fit(interactions_of(SWIPES, text=True))
    stop = threading.Event()

    def learn():
        step = 0
        while not stop.is_set():
            model.update(f"new{step}", f"item{step}", 1)
            step += 1

    def child():
        assert len(model.user_ids_) == len(model.user_factors) == model.interactions_.shape[0]
        model.update("of the child", "i00", 1)
        assert model.user_ids_[-1] == "of the child"
        os._exit(0)

    threads = [threading.Thread(target=learn, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    try:
        for _ in range(5):
            process = context.Process(target=child)
            process.start()
            process.join(30)
            assert process.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# The rule holds for all models and all methods


@pytest.mark.parametrize("cls", [type(make()) for make, _ in MODELS.values()])
def test_every_public_method_is_listed_as_reading_or_changing(cls):
    methods = {name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))}
    kept = set(FactorModel._reading) | set(FactorModel._changing)
    made = {"load", "from_factors"} & methods  # these make a model, and to_index takes a snapshot itself
    assert methods - kept == {"to_index"} | made
    for name in methods & kept:
        assert getattr(cls, name)._is_guarded


def test_methods_of_new_subclasses_are_guarded_too():
    class Mine(Popularity):
        def fold_in_users(self, user_items):
            assert self._is_snapshot
            return super().fold_in_users(user_items)

        def fit(self, interactions, y=None):
            assert self._guard.before is not None
            return super().fit(interactions)

    Mine().fit(COUNTS).recommend(None, 3, user_items=COUNTS[:1])


# What belongs to all models


@pytest.mark.nightly
def test_pool_threads_use_the_backend_of_their_caller():
    seen = set()

    class Watched(LogisticMF):
        def _epoch(self, inputs):
            seen.add((threading.get_ident(), active_backend().name))
            time.sleep(0.001)
            return super()._epoch(inputs)

    model = Watched(factors=2, epochs=2, random_state=0, num_threads=2).fit(COUNTS)
    seen.clear()
    many = sp.csr_array(sp.vstack([COUNTS] * 20))
    with use_backend("numpy"):
        model.fold_in_users(many)
    assert {name for _, name in seen} == {"numpy"}


def test_one_event_costs_microseconds():
    """The figure of the documentation is 13, on a quiet machine; here it must only not be of another order."""
    model = CosineMF(factors=64, random_state=0)
    model.update(list(range(1000)), list(range(1000)), [1] * 1000)
    times = []
    for x in range(3000):
        start = time.perf_counter()
        model.update(x % 1000, x * 7 % 1000, x % 2)
        times.append(time.perf_counter() - start)
    assert np.quantile(times, 0.1) < 200e-6
