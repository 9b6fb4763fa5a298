"""Each model has a page in docs/models, whose table of parameters is complete and has the right defaults."""

import re
from pathlib import Path

import pytest

from alternant.models import MODELS

PAGES = Path(__file__).parents[2] / "docs" / "models"
ROW = re.compile(r"^\| `(\w+)` \| `([^`]*)` \|", re.MULTILINE)
pytestmark = pytest.mark.skipif(not PAGES.is_dir(), reason="the pages are not beside the tests (a wheel's test run)")


@pytest.mark.parametrize("name", MODELS)
def test_the_table_of_parameters_is_that_of_the_model(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    defaults = {key: repr(value).replace("'", '"') for key, value in MODELS[name]().get_params().items()}
    assert dict(ROW.findall(page)) == defaults
