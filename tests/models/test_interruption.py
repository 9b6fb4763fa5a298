"""Ctrl-C, as a real signal to a process of its own, ends long work soon; what is left is whole, and work goes on."""

import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from alternant import BPR, EASE, ContrastiveMF, ImplicitALS, ItemKNN
from alternant.evaluation import evaluate
from alternant.models import _base

SECONDS = 5.0  # of a call that would take minutes: it takes tenths of a second where no one else computes


def interrupted(work, after=0.3):
    """Run `work`, press Ctrl-C, and return how many seconds later it has ended."""
    pressed = []

    def press():
        time.sleep(after)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    try:
        work()
    except KeyboardInterrupt:
        return time.perf_counter() - pressed[0]
    raise AssertionError("the work ended before Ctrl-C")


def cases():
    """Yield (name, seconds until the work ended, whether what is left is as documented)."""
    rng = np.random.default_rng(0)
    R = sparse.random_array((3000, 500), density=0.02, format="csr", rng=rng)
    R.data[:] = 1
    for cls, params in ((ImplicitALS, {}), (BPR, {}), (ContrastiveMF, {"negatives": 400})):
        counted = {name: 100_000 for name in ("iterations", "epochs") if name in cls().get_params()}
        model = cls(factors=8, random_state=0, **counted, **params)
        seconds = interrupted(lambda model=model: model.fit(R), after=1.0)
        whole = cls(factors=8, random_state=0, **dict.fromkeys(counted, model.n_iter_), **params).fit(R)
        same = model.user_factors.tobytes() == whole.user_factors.tobytes()
        yield f"{cls.__name__}.fit", seconds, same and len(model.history_["objective"]) == model.n_iter_

    model = ImplicitALS(factors=8, iterations=100_000, random_state=0, warm_start=True)
    interrupted(lambda: model.fit(R))
    reached = model.history_["objective"][-1]
    model.set_params(iterations=2).fit(R)
    yield "warm start", 0.0, model.history_["objective"][-1] <= reached * (1 + 1e-5)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkpoint"
        model = ImplicitALS(factors=8, iterations=300, random_state=0)
        seconds = interrupted(lambda: model.fit(R, checkpoint=folder, every=1), after=0.5)
        resumed = ImplicitALS(factors=8, iterations=300, random_state=0).fit(R, checkpoint=folder)
        whole = ImplicitALS(factors=8, iterations=300, random_state=0).fit(R)
        yield "checkpoint", seconds, resumed.item_factors.tobytes() == whole.item_factors.tobytes()

        model = ImplicitALS(factors=64, iterations=1, random_state=0).fit(R)
        large = np.random.default_rng(0).standard_normal((300_000, 64)).astype(np.float32)
        model.user_factors, model.item_factors = large, large
        target = Path(name) / "lists.csv"
        target.write_text("kept")
        yield "recommend", interrupted(lambda: model.recommend(np.arange(300_000), exclude_seen=False)), True
        seconds = interrupted(lambda: model.recommend_all(to=target, exclude_seen=False))
        left = sorted(path.name for path in Path(name).iterdir())
        yield "recommend_all", seconds, target.read_text() == "kept" and left == ["checkpoint", "lists.csv"]
        one = np.arange(300_000)
        test = sparse.csr_array((np.ones(300_000), (one, one)), shape=(300_000, 300_000))
        yield "evaluate", interrupted(lambda: evaluate(model, test, exclude_seen=False, metrics=["ndcg", "auc"])), True

    for model, size in ((EASE(), 6000), (ItemKNN(), 20_000)):
        wide = sparse.random_array((20_000, size), density=0.01, format="csr", rng=rng)
        seconds = interrupted(lambda model=model, wide=wide: model.fit(wide))
        yield f"{type(model).__name__}.fit", seconds, not hasattr(model, "item_factors")

    import optuna

    from alternant.tuning import tune

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    options = {"n_trials": 10_000, "random_state": 0, "refit": False}
    seconds = interrupted(lambda: tune(ImplicitALS(factors=4, iterations=2), R, study=study, **options), after=3.0)
    done = sum(trial.state.name == "COMPLETE" for trial in study.trials)
    options["n_trials"] = len(study.trials) + 1
    yield "tune", seconds, done > 0
    result = tune(ImplicitALS(factors=4, iterations=2), R, study=study, **options | {"n_trials": 2})
    yield "tune goes on", 0.0, len(result.trials) > done


def test_rankings_divided_into_calls_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    R = sparse.random_array((50, 30), density=0.2, format="csr", rng=rng)
    test = sparse.random_array((50, 30), density=0.1, format="csr", rng=rng)
    test = sparse.csr_array(test.toarray() * (R.toarray() == 0))
    allowed = sparse.random_array((50, 30), density=0.7, format="csr", rng=rng)
    model = ImplicitALS(factors=4, random_state=0).fit(R)
    backend, calls = model._backend(), []

    def results():
        plain = model.recommend(np.arange(50), 5)
        chosen = model.recommend(np.arange(50), 5, candidate_items=allowed)
        listed = model.recommend(np.arange(50), 5, candidate_items=[1, 2, 3, 8, 9, 20], exclude_seen=False)
        measured = evaluate(model, test, k=5).per_user.values()
        return [*plain, *chosen, *listed, *model.similar_items(np.arange(30), 5), *measured]

    whole = results()
    monkeypatch.setattr(_base, "PRODUCTS_PER_CALL", 1)
    monkeypatch.setattr(_base, "FEWEST_QUERIES", 7)
    counted = copy.copy(backend)
    counted.top_k = lambda *arguments: calls.append(len(arguments[0])) or backend.top_k(*arguments)
    monkeypatch.setattr(ImplicitALS, "_backend", lambda self: counted)
    for seconds, longest in ((0, 7), (1e9, 43)):  # calls grow as long as they end before: 7 users, then all others
        monkeypatch.setattr(_base, "SECONDS_PER_CALL", seconds)
        calls.clear()
        for one, other in zip(whole, results(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert max(calls) == longest


@pytest.mark.nightly
def test_ctrl_c_ends_long_work_and_it_goes_on():
    if os.name == "nt":
        pytest.skip("Windows has no SIGINT for a single process")
    pytest.importorskip("optuna", reason="tune needs optuna, the extra `tune`")
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 12
    assert [line for line in lines if not line[2] or line[1] > SECONDS] == []


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    for case in cases():
        sys.stdout.write(json.dumps(case) + "\n")
