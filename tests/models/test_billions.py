"""More than 2^31 interactions, for real: a store of groups in which all users are alike, and all items."""

import json
import shutil

import numpy as np
import pytest

from alternant import ImplicitALS, Interactions
from alternant.data.store.array_files import ArrayWriter
from alternant.data.store.saved_ids import save_whole
from alternant.data.store.store import FORMAT, VERSION, digest_of

GROUPS, ITEMS_EACH, USERS_EACH = 1 << 11, 1 << 6, (1 << 14) + 8
USERS, ITEMS = GROUPS * USERS_EACH, GROUPS * ITEMS_EACH
PAIRS = USERS * ITEMS_EACH
DISK = 20 << 30


def write_store(folder):
    """Users and items belong to the group of their number modulo `GROUPS`, and users have all items of theirs."""
    folder.mkdir()
    writers = {f"{side}.{part}": ArrayWriter(folder / f"{side}.{part}")
               for side in ("users", "items") for part in ("indptr", "indices")}  # fmt: skip
    for side, others, times in (("users", ITEMS_EACH, USERS_EACH), ("items", USERS_EACH, ITEMS_EACH)):
        writers[f"{side}.indptr"].append(np.arange(GROUPS * times + 1) * others)
        one_of_each = np.arange(GROUPS, dtype=np.int32)[:, None] + GROUPS * np.arange(others, dtype=np.int32)
        for _ in range(times):
            writers[f"{side}.indices"].append(one_of_each.reshape(-1))
    files = {name: writer.state for name, writer in writers.items()}
    files |= save_whole(folder, "user", np.arange(USERS)) | save_whole(folder, "item", np.arange(ITEMS))
    manifest = {
        "format": FORMAT, "version": VERSION, "shape": [USERS, ITEMS], "nnz": PAIRS, "least": 1.0, "greatest": 1.0,
        "has_zeros": False, "data": "<f4", "times": None, "ids": {"user": "whole", "item": "whole"},
        "dropped": dict.fromkeys(("n_rows", "n_missing_ids", "n_missing_values", "n_missing_times", "n_merged"), 0),
        "facts": {"aggregate": "last", "columns": None, "library": None, "has_values": False}, "files": files,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest_of(manifest)}))


@pytest.mark.nightly
def test_a_fit_of_more_than_two_to_the_31_interactions(tmp_path):
    if shutil.disk_usage(tmp_path).free < DISK:
        pytest.skip(f"needs {DISK >> 30} GB of disk space")
    assert PAIRS > 2**31
    write_store(tmp_path / "store")
    stored = Interactions.open(tmp_path / "store")
    assert stored.nnz == PAIRS
    model = ImplicitALS(
        factors=4, iterations=1, weighting="ials", unobserved_weight=0.1, regularization=0.1, degree_normalization=0,
        solver="cholesky", acceleration=None, random_state=0,
    ).fit(stored, memory_limit="4GB")  # fmt: skip
    users, items = model.user_factors.reshape(USERS_EACH, GROUPS, 4), model.item_factors.reshape(ITEMS_EACH, GROUPS, 4)
    for alike in (users, items):
        assert alike[0].std(axis=0).min() > 0
        assert (alike == alike[0]).all()
    ids, _ = model.recommend(USERS - 1, 5)
    assert (ids % GROUPS != GROUPS - 1).all()  # not what the last user has
