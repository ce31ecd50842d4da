"""The book as a reader meets it: opened from disk in headless Chromium, without a network, on a desk and on a phone."""

from __future__ import annotations

import json
import os
import shutil
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOOK = Path(os.environ.get("SNN_NTK_BOOK", ROOT / "_build" / "smoke" / "html"))
PHONE = 390

pytestmark = pytest.mark.xdist_group("browser")


class Page(HTMLParser):
    """Anchors and targets of one page, as written; scripts have not run."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        target = values.get("href") if tag in ("a", "link") else values.get("src")
        if target:
            self.targets.append(target)


def pages_of(book: Path) -> list[Path]:
    """Every page; the theme keeps templates of its own beside its scripts."""
    return [path for path in sorted(book.rglob("*.html")) if "_static" not in path.relative_to(book).parts]


def broken_links(book: Path) -> list[str]:
    """Every internal link, image and anchor of a book that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in pages_of(book)}
    broken = []
    for path, page in pages.items():
        for target in dict.fromkeys(page.targets):
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            anchor = urllib.parse.unquote(parts.fragment)
            missing = not goal.is_file() or (anchor and goal in pages and anchor not in pages[goal].anchors)
            if missing:
                broken.append(f"{path.relative_to(book.resolve())}: {target}")
    return broken


@pytest.fixture(scope="module")
def book() -> Path:
    if not (BOOK / "index.html").is_file():
        pytest.skip(f"there is no book at {BOOK}: make book PROFILE=smoke")
    return BOOK


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip(
            "Chromium or its driver is not installed; on Debian or Ubuntu: apt install chromium chromium-driver"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1280,900",
        # No name resolves: whatever the page wants from the network fails, and shows in the console.
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    session.set_page_load_timeout(60)
    session.set_script_timeout(60)
    yield session
    session.quit()


# Waits until mathematics is typeset, then tells what a reader would see.
LOOK = """
const done = arguments[arguments.length - 1];
const look = () => done({
  written: document.querySelectorAll('.math').length,
  typeset: document.querySelectorAll('mjx-container').length,
  errors: [...document.querySelectorAll('mjx-merror, [data-mml-node="merror"], mjx-container [fill="red"]')]
    .map(e => e.textContent || e.getAttribute('data-mjx-error') || 'error'),
  images: [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.src.slice(0, 80)),
  silent: [...document.querySelectorAll('article img')].filter(i => !i.alt).map(i => i.src.slice(0, 80)),
});
const typeset = () => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(look) : look();
Promise.all([...document.images].map(i => i.decode().catch(() => null))).then(typeset);
"""
WIDE = """
const limit = arguments[0];
const wide = [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > limit + 1);
return [document.scrollingElement.scrollWidth, wide.slice(0, 3).map(e => e.tagName + '.' + e.className)];
"""


def look(browser, path: Path) -> list[str]:
    """What is wrong with one page."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # forgets what earlier pages said
    browser.get(path.absolute().as_uri())
    seen = browser.execute_async_script(LOOK)
    wrong = []
    if seen["written"] and seen["typeset"] < seen["written"]:
        wrong.append(f"{seen['written']} formulas written, {seen['typeset']} typeset")
    wrong += [f"error in mathematics: {text}" for text in seen["errors"]]
    wrong += [f"image not shown: {source}" for source in seen["images"]]
    wrong += [f"image without alternative text: {source}" for source in seen["silent"]]
    size = {"width": PHONE, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    width, elements = browser.execute_script(WIDE, PHONE)
    if width > PHONE:
        wrong.append(f"{width} pixels wide on a phone of {PHONE}: {elements}")
    wrong += [f"console: {entry['message']}" for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if url.startswith(("http:", "https:", "ws:")):
                wrong.append(f"wants from the network: {url}")
    return wrong


def test_internal_links_lead_somewhere(book):
    assert broken_links(book) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y">1</a><a href="#x">2</a><img src="c.png">')
    (tmp_path / "b.html").write_text('<a href="a.html#x">1</a><a href="gone.html">2</a><a href="https://x.org">3</a>')
    assert sorted(broken_links(tmp_path)) == ["a.html: b.html#y", "a.html: c.png", "b.html: gone.html"]


def test_every_page_is_as_it_should_be(book, browser):
    pages = [path for path in pages_of(book) if path.name not in ("index.html", "search.html")]
    assert pages
    wrong = {path.relative_to(book).as_posix(): found for path in pages if (found := look(browser, path))}
    assert wrong == {}


def test_index_leads_to_the_first_page(book, browser):
    browser.get((book / "index.html").absolute().as_uri())
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda session: session.current_url.endswith("intro.html"))


def test_search_finds_price(book, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((book / "search.html").absolute().as_uri() + "?q=Price")

    def finds_price(session) -> bool:
        """Whether one of the results so far is a page on which the word stands; they appear one by one."""
        links = session.find_elements(By.CSS_SELECTOR, "ul.search li a")
        targets = {urllib.parse.unquote(urllib.parse.urlsplit(link.get_attribute("href")).path) for link in links}
        return any("Price" in Path(target).read_text(encoding="utf-8") for target in targets)

    assert WebDriverWait(browser, 20).until(finds_price)


def test_a_bad_page_is_noticed(tmp_path, browser):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width, initial-scale=1"><article>'
        '<span class="math">x</span><img src="gone.png"><div style="width:600px">wide</div></article>'
        '<script src="https://example.org/x.js"></script><script>missing()</script>'
    )
    wrong = "\n".join(look(browser, page))
    for sign in (
        "0 typeset",
        "image not shown",
        "without alternative",
        "pixels wide on a phone",
        "missing is not",
        "example.org",
    ):
        assert sign in wrong
