"""More than 2^31 interactions, for real: a store of groups in which all users are alike, and all items."""

import json
import os
import shutil

import numpy as np
import pytest

from alternant import ImplicitALS, Interactions
from alternant.data.store.array_files import ArrayWriter
from alternant.data.store.saved_ids import save_whole
from alternant.data.store.store import FORMAT, VERSION, digest_of

GROUPS, EACH = 1 << 11, (1 << 10) + 1  # of users and of items
ROWS, PAIRS = GROUPS * EACH, GROUPS * EACH**2
DISK = 10 << 30


def write_store(folder):
    """Users and items belong to the group of their number modulo `GROUPS`, and users have all items of theirs.

    The matrix is symmetric, so that both orientations have the same bytes.
    """
    folder.mkdir()
    indptr, indices = (ArrayWriter(folder / f"users.{part}") for part in ("indptr", "indices"))
    indptr.append(np.arange(ROWS + 1) * EACH)
    one_of_each = np.arange(GROUPS, dtype=np.int32)[:, None] + GROUPS * np.arange(EACH, dtype=np.int32)
    for _ in range(EACH):
        indices.append(one_of_each.reshape(-1))
    files = {}
    for part, writer in (("indptr", indptr), ("indices", indices)):
        os.link(folder / f"users.{part}", folder / f"items.{part}")
        files |= {f"{side}.{part}": writer.state for side in ("users", "items")}
    files |= save_whole(folder, "user", np.arange(ROWS)) | save_whole(folder, "item", np.arange(ROWS))
    manifest = {
        "format": FORMAT, "version": VERSION, "shape": [ROWS, ROWS], "nnz": PAIRS, "least": 1.0, "greatest": 1.0,
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
    ).fit(stored, memory_limit="2GB")  # fmt: skip
    for factors in (model.user_factors, model.item_factors):
        alike = factors.reshape(EACH, GROUPS, 4)
        assert alike[0].std(axis=0).min() > 0
        assert (alike == alike[0]).all()
    ids, _ = model.recommend(ROWS - 1, 5)
    assert (ids % GROUPS != GROUPS - 1).all()  # not what the last user has
    shutil.rmtree(tmp_path / "store", ignore_errors=True)  # not kept for the last three runs
