"""Small instances of every model, and what each can learn from: tests that use them follow the registry of models."""

import numpy as np
import scipy.sparse as sp

from alternant.models import MODELS


def small(cls, **params):
    """A model that fits in milliseconds; parameters that it does not have are left out."""
    known = cls().get_params()
    given = {"factors": 4, "iterations": 2, "epochs": 3, "random_state": 0, **params}
    return cls(**{name: value for name, value in given.items() if name in known})


def every_model(**params):
    return [small(cls, **params) for cls in MODELS.values()]


def feedback(utility, known, kind):
    """What users say of the pairs that are known, given how much they like each: a CSR array of this kind of feedback.

    Implicit: counts, and a few dislikes as -1. Likes: 1, dislikes as stored zeros. Ratings: 1 to 5.
    """
    values = {
        "implicit": np.where(utility > 0, 1 + np.floor(np.abs(utility)), -1),
        "likes": utility > 0,
        "ratings": np.clip(np.round(3 + utility), 1, 5),
    }[kind]
    return sp.csr_array((np.asarray(values, float)[known], np.nonzero(known)), shape=known.shape)


def name_of(model):
    return type(model).__name__
