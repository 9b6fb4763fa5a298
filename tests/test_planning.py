"""Plans: what a fit takes, before there are data."""

import json
import subprocess
import sys

import pytest

from alternant import EASE, BiasedMF, ImplicitALS, planning
from alternant.cli.app import main
from alternant.models import MODELS


@pytest.mark.parametrize(("free", "advice"), [
    (None, "How much memory is free is not known"),
    (30e9, "fit(interactions) as it is."),
    (14e9, "read the interactions into a store, with Interactions.from_parquet"),
    (5e9, 'read the interactions into a store, and pass fit(..., memory_limit="4.5GB").'),
    (4.3e9, 'pass fit(..., memory_limit="4.23GB").'),  # nine tenths would be too few
    (1e9, "too few; take fewer factors"),
])  # fmt: skip
def test_the_advice_follows_the_memory_that_is_free(monkeypatch, free, advice):
    monkeypatch.setattr(planning, "available_bytes", lambda: free)
    text = str(planning.plan(ImplicitALS(factors=32), 20_000_000, 2_000_000, 400_000_000, timed=False))
    assert advice in text
    assert max(map(len, text.splitlines()[1:-1])) <= 80


def test_the_time_is_that_of_a_small_fit_in_proportion_to_the_work(monkeypatch):
    monkeypatch.setattr(planning, "TIMED", (300, 200, 2000))
    model = BiasedMF(factors=4)
    one, ten = (planning.plan(model, 1000, 1000, pairs).seconds_per_iteration for pairs in (10_000, 100_000))
    assert 0 < one < ten
    assert not hasattr(model, "user_factors")
    assert planning.plan(EASE(), 100, 50, 400, timed=False).seconds_per_iteration is None


def test_a_plan_of_a_model_that_is_fitted_in_blocks():
    ratings, ones = (planning.plan(BiasedMF(factors=62, num_threads=2), 10**6, 10**6, 10**8, values=values, timed=False)
                     for values in (True, False))  # fmt: skip
    assert (ratings.blocks, ones.blocks) == (12 * 10**8, 8 * 10**8)
    side = 10**6 * 64 * 4
    assert ratings.files == 5 * side  # of the model, before and after an epoch, and one side of those that move
    assert ratings.files - (ratings.from_store - ratings.least) == side / 8  # 2 of 16 blocks are in memory
    assert 1.125 * side < ratings.least < 1.125 * side + 600e6
    assert ratings.in_memory - ratings.from_store > 3 * 10**9
    assert "disk: the interactions by block" in str(ratings)
    assert planning.plan(ImplicitALS(), 1000, 500, 20_000, timed=False).blocks == 0


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_plan(name):
    found = planning.plan(MODELS[name](), 1000, 500, 20_000, timed=False)
    assert found.in_memory > 0
    assert str(found).startswith(repr(MODELS[name]()))


@pytest.mark.parametrize(("numbers", "message"), [
    ((0, 5, 5), "users must be at least 1, got 0"),
    ((5, 5.5, 5), "items must be a whole number, got 5.5"),
    ((5, 5, 26), "interactions must be at most users times items, 25, as events of one pair are merged, got 26"),
])  # fmt: skip
def test_bad_numbers(numbers, message):
    with pytest.raises((TypeError, ValueError), match=message):
        planning.plan(ImplicitALS(), *numbers, timed=False)


def test_the_command(capsys):
    command = ["plan", "--users", "1_000_000", "--items", "50000", "--interactions", "20000000", "--no-time"]
    main(command)
    assert "memory: factors in files, too" in capsys.readouterr().out
    main([*command, "--json", "--model", "ease"])
    assert json.loads(capsys.readouterr().out)["least"] is None


MEASURED = """
import sys
import numpy as np, scipy.sparse as sp
from pathlib import Path
from alternant.models import MODELS

name, users, items, pairs = sys.argv[1], *map(int, sys.argv[2:])
rng = np.random.default_rng(0)
indices = np.sort(rng.integers(0, items // (pairs // users), (users, pairs // users), np.int32), axis=1)
indices = indices * np.int32(pairs // users) + np.arange(pairs // users, dtype=np.int32)
values = rng.integers(0, 2, indices.size).astype(np.float32)
values += 1 if MODELS[name].traits.feedback != "likes" else 0
indptr = np.arange(users + 1, dtype=np.int32) * (pairs // users)
matrix = sp.csr_array((values, indices.reshape(-1), indptr), shape=(users, items))
del indices, values
model = MODELS[name]()
model.set_params(**{one: 2 for one in ("iterations", "epochs") if one in model.get_params()})
Path("/proc/self/clear_refs").write_text("5")
model.fit(matrix)
peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(peak * 1024, model.fit_memory(users, items, pairs).in_memory)
"""


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("ease", "item-knn")])
def test_the_memory_of_a_fit_is_as_planned(name):
    """Within a third; of EASE and ItemKNN it depends on how many pairs of items occur together."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which only Linux has")
    command = [sys.executable, "-c", MEASURED, name, "200000", "20000", "8000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured, planned = map(int, done.stdout.split())
    assert 0.75 < planned / measured < 1.35
