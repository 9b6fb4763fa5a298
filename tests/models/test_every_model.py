"""What holds of every public model, a new one too, without its name being written here."""

import importlib
import inspect
import itertools
import os
import re
import traceback
from pathlib import Path

import numpy as np
import pytest
from every_model import every_model, feedback, name_of

import alternant
from alternant import models
from alternant.models import EASE, MODELS, FactorModel, NotFittedError, Popularity
from alternant.tuning import default_space, tune

PACKAGE = str(Path(alternant.__file__).parent) + os.sep
M, N, K = 40, 25, 5
rng = np.random.default_rng(0)
UTILITY = rng.standard_normal((M, 3)) @ rng.standard_normal((3, N))
KNOWN = rng.random((M, N)) < 0.5


def rows_for(model):
    return feedback(UTILITY, KNOWN, model.traits.feedback)


@pytest.fixture(params=every_model(), ids=name_of)
def model(request):
    return type(request.param)(**request.param.get_params())


@pytest.fixture
def fitted(model):
    return model.fit(rows_for(model))


def test_all_public_models_have_a_name_for_the_command_line():
    public = [found for name in alternant.__all__ if isinstance(found := getattr(alternant, name), type)
              and issubclass(found, FactorModel) and found is not FactorModel]  # fmt: skip
    assert sorted(MODELS.values(), key=str) == sorted(public, key=str)
    files = [path.stem for path in Path(models.__file__).parent.glob("[a-z]*.py")]
    modules = [importlib.import_module(f"alternant.models.{name}") for name in files]
    found = [(module, value) for module in modules for value in vars(module).values() if isinstance(value, type)]
    defined = {cls for module, cls in found if issubclass(cls, FactorModel) and cls.__module__ == module.__name__}
    assert defined == set(public), "models/__init__.py exports all models in files of their own"
    for name, cls in MODELS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert cls.traits.feedback in ("implicit", "likes", "ratings")


def test_lists_exclude_seen_items_and_are_sorted(fitted):
    ids, scores = fitted.recommend(np.arange(M), K)
    assert not KNOWN[np.arange(M)[:, None], ids][ids >= 0].any()
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores[3], fitted.predict(3, ids[3]), rtol=1e-5)


class Traced:
    """A backend that notes the files of the package which lead to each call of a kernel."""

    def __init__(self, backend):
        self.backend, self.paths = backend, {}

    def __getattr__(self, name):
        kernel = getattr(self.backend, name)
        if not callable(kernel):
            return kernel

        def call(*args, **options):
            files = [frame.filename for frame in traceback.extract_stack()[:-1] if PACKAGE in frame.filename]
            self.paths[name] = [file for file, _ in itertools.groupby(files)]
            return kernel(*args, **options)

        return call


def test_a_fit_leads_to_its_kernels_through_few_files_and_enters_none_twice(model, monkeypatch):
    traced = Traced(alternant.kernels.get_backend("auto"))
    monkeypatch.setattr(type(model), "_backend", lambda self: traced)
    model.fit(rows_for(model))
    assert traced.paths or isinstance(model, (EASE, Popularity))  # NumPy's linear algebra, and counting
    for name, files in traced.paths.items():
        own = [file.split(PACKAGE)[1] for file in files]
        assert len(set(own)) == len(own) <= 6, f"{name}: {' > '.join(own)}"  # and the kernel's .pyx and .c


def test_one_seed_gives_the_same_bits_on_any_number_of_threads(model):
    rows = rows_for(model)
    first, *others = [type(model)(**model.get_params() | {"num_threads": n}).fit(rows) for n in (1, 2, 8)]
    for other in others:
        assert first.user_factors.tobytes() == other.user_factors.tobytes()
        assert first.item_factors.tobytes() == other.item_factors.tobytes()


def test_a_saved_model_gives_the_same_lists(fitted, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    for cls in (type(fitted), FactorModel):
        for mmap in (False, True):
            loaded = cls.load(tmp_path / "model.safetensors", mmap=mmap)
            for one, other in zip(loaded.recommend([0, 7], K), fitted.recommend([0, 7], K), strict=True):
                np.testing.assert_array_equal(one, other)


def test_lists_of_new_users_exclude_their_items(fitted):
    new = rows_for(fitted)[:3]
    ids, scores = fitted.recommend(user_items=new, k=K)
    assert np.isfinite(scores).all()
    assert not KNOWN[np.arange(3)[:, None], ids].any()


def test_an_unfitted_model_raises_not_fitted_error(model, tmp_path):
    for call in (
        lambda: model.recommend(0), lambda: model.predict(0, 0), lambda: model.similar_items(0),
        lambda: model.cold_start(), lambda: model.save(tmp_path / "model.safetensors"),
    ):  # fmt: skip
        with pytest.raises(NotFittedError, match=f"this {name_of(model)} is not fitted yet"):
            call()


def test_a_refused_fit_changes_nothing(fitted):
    before = fitted.user_factors.tobytes(), fitted.item_factors.tobytes(), fitted.get_params()
    broken = rows_for(fitted)
    broken.data[3] = np.inf
    for wrong in (broken, broken[:0], "a text", None):
        with pytest.raises((TypeError, ValueError)) as caught:
            fitted.fit(wrong)
        assert "\n" not in str(caught.value)
    assert before == (fitted.user_factors.tobytes(), fitted.item_factors.tobytes(), fitted.get_params())


def test_options_that_only_iterations_have_are_refused_in_one_sentence(model):
    for name in {"memory_limit", "checkpoint", "callback"} - inspect.signature(model.fit).parameters.keys():
        said = f"{name} needs a model that is fitted by iterations, got {name_of(model)}: leave it out"
        with pytest.raises(TypeError, match=said):
            model.fit(rows_for(model), **{name: None})


def test_parameters_that_a_method_lacks_are_refused_by_the_name_of_the_model(model):
    with pytest.raises(TypeError, match=f"{type(model).__name__}.partial_fit has no parameter 'callback': leave it"):
        model.partial_fit(rows_for(model), callback=None)
    validates = "validation" in inspect.signature(model.fit).parameters
    with pytest.raises(TypeError) as caught:
        model.fit(rows_for(model), np.ones((M, 2)))
    assert ("validation=" in str(caught.value)) == validates
    if not validates:
        with pytest.raises(TypeError, match="validation needs a model that is fitted in epochs"):
            model.fit(rows_for(model), validation=rows_for(model))


def test_every_fit_has_show_progress_which_is_true_false_or_none(model):
    assert inspect.signature(model.fit).parameters["show_progress"].default is None
    with pytest.raises(TypeError, match="show_progress must be True or False, got 'a'"):
        model.fit(rows_for(model), show_progress="a")


def test_nothing_is_no_history_of_known_rows(fitted):
    for kind, other in (("user", "items"), ("item", "users")):
        before = fitted.interactions_
        if hasattr(fitted, f"partial_fit_{kind}s"):
            with pytest.raises(ValueError, match=f"^{kind}_{other} .*, got (None|neither)"):
                getattr(fitted, f"partial_fit_{kind}s")([1], None)
        assert fitted.interactions_ is before


@pytest.mark.parametrize("cls", MODELS.values(), ids=MODELS)
def test_each_parameter_and_attribute_is_documented(cls):
    text = inspect.getdoc(cls)
    for name in cls().get_params():
        assert re.search(rf"^{name} : ", text, re.MULTILINE), f"{name} is not documented"
    assert "Attributes\n----------" in text


def test_it_can_be_tuned_by_default_or_says_why_not(model):
    pytest.importorskip("optuna", reason="tune is Optuna's")
    rows = rows_for(model)
    try:
        space = default_space(model, rows)
    except ValueError as error:
        assert "nothing to tune" in str(error)  # noqa: PT017 - either is right
        return
    assert set(space) <= set(model.get_params())
    found = tune(model, rows, budget=3, random_state=0, show_progress=False)
    assert set(found.best_params) <= {*space, "iterations", "epochs"}
    assert found.best_model is not None


def test_matrices_in_an_unaligned_buffer_are_read_as_others_are(fitted):
    rows = rows_for(fitted)
    shifted = rows.copy()
    for name in ("indices", "indptr", "data"):
        part = getattr(rows, name)
        buffer = np.frombuffer(b"-" + part.tobytes(), np.uint8)[1:]
        setattr(shifted, name, buffer.view(part.dtype))
    assert not shifted.indices.flags.aligned
    expected = fitted.recommend(user_items=rows, k=K)
    for got, right in zip(fitted.recommend(user_items=shifted, k=K), expected, strict=True):
        np.testing.assert_array_equal(got, right)
    again = type(fitted)(**fitted.get_params()).fit(shifted)
    np.testing.assert_array_equal(again.predict(0, [0, 1]), fitted.predict(0, [0, 1]))
    if hasattr(fitted, "partial_fit_users"):
        fitted.partial_fit_users([M], shifted[:1])
