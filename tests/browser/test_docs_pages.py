"""Pages of the site in Chromium, opened as files with the network off."""

import pytest

pytestmark = pytest.mark.browser

PAGES = ("index", "results", "examples", "explorer", "course/03_estimators", "api/index", "api/spaces", "changelog")

# Pictures that did not load, formulas that are not drawn, and how far a page is wider than its window
LOOK = """() => ({
  missing: [...document.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.src),
  formulas: [...document.querySelectorAll("math")].filter((math) => !math.getBoundingClientRect().width).length,
  beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})"""


@pytest.mark.parametrize("width, theme", [(1280, "light"), (1280, "dark"), (390, "light")])
def test_pages_fit_and_ask_no_other_machine(site, open_tab, width, theme):
    tab = open_tab(width, offline=True, color_scheme=theme)
    for name in PAGES:
        tab.page.goto((site / f"{name}.html").as_uri())
        tab.page.wait_for_function("document.body.dataset.mdColorScheme")
        assert tab.page.evaluate(LOOK) == {"missing": [], "formulas": 0, "beyond": 0}, name
        scheme = tab.page.evaluate("document.body.dataset.mdColorScheme")
        assert scheme == {"light": "default", "dark": "slate"}[theme]
    assert tab.complaints == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "data", "blob"}


def test_a_page_that_does_not_fit_is_seen(open_tab):
    page = open_tab(390, offline=True).page
    page.set_content('<img src="gone.png"><math></math><div style="width: 500px">wide</div>')
    found = page.evaluate(LOOK)
    assert len(found["missing"]) == 1 and found["formulas"] == 1 and found["beyond"] > 100


def test_search_finds_a_name_without_a_server(site, open_tab):
    tab = open_tab(1280, offline=True)
    tab.page.goto((site / "index.html").as_uri())
    tab.page.get_by_role("textbox", name="Search").fill("ArchDistribution")
    found = tab.page.locator(".md-search-result__link").first
    found.wait_for(timeout=20_000)
    assert "api/estimators.html" in found.get_attribute("href")


def test_the_explorer_is_dragged_in_its_page(site, open_tab):
    tab = open_tab(1280, offline=True)
    tab.page.goto((site / "explorer.html").as_uri())
    frame = tab.page.frame_locator("iframe.lk-explorer")
    words = frame.locator(".says")
    words.wait_for()
    before = words.text_content()
    frame.locator(".weight").first.focus()
    for _ in range(5):
        tab.page.keyboard.press("ArrowRight")
    assert words.text_content() != before and tab.complaints == []
