"""The page in a real browser: what a person types, sees and reaches with the keyboard."""

import os
import shutil

import pytest
from pages import EVIL, running, small_model

from alternant import BPR
from alternant.serve import Catalogue

playwright = pytest.importorskip("playwright.sync_api", reason="the driver of browsers, playwright, is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}


@pytest.fixture(scope="module")
def browser():
    # Chromium's sandbox can't run as root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def url(model):
    with running(Catalogue(*model)) as server:
        yield server.url


@pytest.fixture
def page(browser, url):
    """The page, which must leave nothing on the console and ask no other host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page, said, asked = context.new_page(), [], []
    page.set_default_timeout(10_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.get_by_role("button", name="user 0", exact=True).wait_for()  # the model has been described
    yield page
    assert [text for text in said if "400 (Bad Request)" not in text] == []
    assert all(one.startswith((url, "data:")) for one in asked)
    assert page.title() != "harmed"
    context.close()


def texts(page, place):
    return page.locator(f"#{place} .title").all_inner_texts()


def test_typing_a_user_shows_lists_and_choosing_an_item_tells_why(page, model):
    fitted, titles = model
    page.get_by_label("User of the fit").fill("user 7")
    page.keyboard.press("Enter")
    page.locator("#recommended button").first.wait_for()
    ids, _ = fitted.recommend("user 7", 10)
    assert texts(page, "recommended") == [titles[item] for item in ids]
    page.locator("#recommended button").nth(1).click()
    page.locator("#parts button").first.wait_for()
    assert page.locator("#detail-title").inner_text() == titles[ids[1]]
    assert texts(page, "similar") == [titles[item] for item in fitted.similar_items(ids[1], 10)[0]]
    assert texts(page, "parts") == [titles[item] for item in fitted.explain("user 7", ids[1]).items[:10]]
    focused = page.evaluate("document.activeElement.dataset.item")
    assert focused == ids[1], "the focus stays on the item, for whoever uses the keyboard"
    page.reload()
    page.locator("#parts button").first.wait_for()  # the address holds the state
    page.go_back()
    page.get_by_text("None is chosen.").wait_for()


def test_items_are_found_picked_and_removed_with_the_keyboard_alone(page):
    page.get_by_label("User of the fit").focus()
    reached = []
    while page.evaluate("document.activeElement.id") != "search":
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.tagName"))
        assert len(reached) < 12
    page.keyboard.insert_text("film love")  # at once: each key would begin a search of its own
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    marked = page.get_by_role("option", selected=True)
    name = marked.inner_text()
    assert page.locator("#search").get_attribute("aria-activedescendant") == marked.get_attribute("id")
    page.keyboard.press("Enter")
    page.locator("#recommended button").first.wait_for()
    assert texts(page, "history") == [name]
    assert name not in texts(page, "recommended")
    remove = page.get_by_role("button", name=f"Remove {name}")
    remove.focus()
    page.keyboard.press("Enter")
    page.locator("#lists").wait_for(state="hidden")
    page.locator("#search").fill("nothing like it")
    page.get_by_text("No item has").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()


def test_titles_and_ids_that_are_html_are_shown_as_text(page):
    page.locator("#search").fill("onerror")
    page.get_by_role("option").first.click()
    page.locator("#recommended button").first.wait_for()
    assert any(EVIL in text for text in texts(page, "history"))
    assert page.locator("main img, main script").count() == 0


def test_every_score_can_be_shown(page):
    shown = page.evaluate("[null, 0, 1e-9, -0.12345, 999.7, -1234.5, 1e30].map(short)")
    assert shown == ["not finite", "0.00", "1.00e-9", "-0.123", "1000", "-1235", "1.00e+30"]
    rows = '[{item: "a", title: null, score: null}, {item: "b", title: null, score: 2e-320}]'
    page.evaluate(f'fill(at("recommended"), {rows}, "score", null)')
    assert page.locator("#recommended .bar").evaluate_all("bars => bars.map(bar => bar.style.width)") == ["0%", "100%"]


def test_an_unknown_user_gets_one_sentence_and_the_lists_are_gone(page):
    field = page.get_by_label("User of the fit")
    field.fill("user 1")
    page.keyboard.press("Enter")
    page.locator("#recommended button").first.wait_for()
    field.fill("<b>nobody</b>")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    sentence = page.get_by_role("alert").inner_text()
    assert sentence.startswith("users must be users of the fit, such as 'user 0', got <b>nobody</b>")
    assert page.locator("#lists").is_hidden()
    page.get_by_label("List length").fill("0")
    page.keyboard.press("Tab")
    page.get_by_text("k must be a whole number").wait_for()


def test_a_model_that_cannot_explain_says_so_beside_similar_items(browser):
    fitted, titles = small_model(BPR(factors=2, epochs=1, random_state=0))
    with running(Catalogue(fitted, titles)) as server:
        page = browser.new_page()
        page.goto(f"{server.url}#user=user 1&item=id%263")
        page.get_by_text("BPR can't explain scores").wait_for()
        assert page.locator("#similar button").count() == 10
        page.close()


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  return [...document.querySelectorAll("h1, h2, h3, p, label, button, input, .number")]
    .filter((node) => node.innerText && node.offsetParent)
    .map((node) => {
      const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), node.innerText];
    }).sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read_on_phones_and_desktops_in_light_and_dark(browser, url, size, scheme):
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(f"{url}#user=user 7&item=id%263")
    page.locator("#parts button").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast, text = page.evaluate(CONTRAST)
    assert contrast >= 4.5, f"{text!r} has a contrast of {contrast:.1f}"  # WCAG 2, level AA
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, button')].filter(n => !n.labels?.length && !n.innerText).length"
    )
    assert unnamed == 0
    left, right = (page.locator(f"#{place}").bounding_box()["x"] for place in ("history", "detail"))
    assert (left < right) == (size == "desktop")
    page.close()
