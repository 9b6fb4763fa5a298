"""scikit-learn's checks of estimators pass for every model, or fail for a reason that docs/sklearn.md states."""

import re
import warnings
from pathlib import Path

import pytest
from every_model import every_model, name_of

checks = pytest.importorskip("sklearn.utils.estimator_checks", reason="the test extra has scikit-learn")

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"
if not PAGE.exists():
    pytest.skip("docs/sklearn.md is not beside the tests (a wheel's test run)", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
TABLE = re.findall(r"^\| (`check_.*?) \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)


def documented(model):
    """The checks that fail for this model by the table, with the reason."""
    found = {}
    for names, models, reason in TABLE:
        listed = name_of(model) in re.findall(r"`(\w+)`", models)
        if listed != models.startswith("all"):
            found |= dict.fromkeys(re.findall(r"`(\w+)`", names), reason)
    return found


def checks_of(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it would rather be a BaseEstimator
        return [(check.func.__name__, check) for _, check in checks.estimator_checks_generator(model)]


def cases():
    for model in every_model():
        expected = documented(model)
        for name, check in checks_of(model):
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            yield pytest.param(model, check, id=f"{name_of(model)}-{name}", marks=marks)


@pytest.mark.filterwarnings("ignore:.* occurred during set_params:UserWarning")  # impossible values are refused at once
@pytest.mark.filterwarnings("ignore:.* values other than 0 .disliked:UserWarning")
@pytest.mark.filterwarnings("ignore:interactions contain no dislikes:UserWarning")
@pytest.mark.filterwarnings("ignore:each user has interacted with all items:UserWarning")
@pytest.mark.parametrize(("model", "check"), list(cases()))
def test_a_check_passes_unless_the_page_says_why_not(model, check):
    assert check(model) is None  # or it raises


@pytest.mark.parametrize("model", every_model(), ids=name_of)
def test_each_documented_failure_is_of_a_check_that_scikit_learn_makes(model):
    assert set(documented(model)) <= {name for name, _ in checks_of(model)}


@pytest.mark.many_steps
def test_the_code_of_the_page_runs():
    names = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(code, PAGE.name, "exec"), names)
    assert names["pipe"].n_features_in_ == names["new"].shape[1] == 285
