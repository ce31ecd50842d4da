"""The book as a reader meets it: opened from disk in headless Chromium, without a network, on a desk and on a phone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pdf
import pytest
from browser import find_chromium, open_browser
from selenium.webdriver.support.ui import WebDriverWait

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


def different_pages(book: Path) -> list[Path]:
    """Every page that has something to see, of those that show a module's source, which are all made alike, the longest."""
    pages = [path for path in pages_of(book) if path.name not in ("index.html", "search.html")]
    sources = [path for path in pages if "_modules" in path.relative_to(book).parts]
    longest = max(sources, key=lambda path: path.stat().st_size)
    return [path for path in pages if path not in sources or path == longest]


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


def page_of_each_kind(book: Path) -> list[Path]:
    """Home, the scorecard, a chapter, its notebook, a how-to and a page of the API."""
    names = ("intro", "scorecard", "05-stochastic-ntk", "howto-dropout", "api/kernels")
    return [*(book / "book" / f"{name}.html" for name in names), book / "notebooks" / "05-stochastic-ntk.html"]


@pytest.fixture(scope="module")
def book() -> Path:
    if not (BOOK / "index.html").is_file():
        pytest.skip(f"there is no book at {BOOK}: make book PROFILE=smoke")
    return BOOK


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if find_chromium() is None:
        pytest.skip(
            "Chromium or its driver is not installed; on Debian or Ubuntu: apt install chromium chromium-driver"
        )
    session = open_browser()
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
const typeset = () => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => setTimeout(look)) : look();
Promise.all([...document.images].map(i => i.decode().catch(() => null))).then(typeset);
"""
# Text that is hard to read, by what it stands in: WCAG 2.2 asks for a contrast of 4.5 to 1 (AA).
FAINT = """
document.documentElement.dataset.theme = arguments[0];
const still = '* { transition: none !important; animation: none !important; }';
document.head.append(Object.assign(document.createElement('style'), {textContent: still}));
document.querySelectorAll('details').forEach(e => { e.open = true; });
document.querySelectorAll('.toggle-hidden').forEach(e => e.classList.remove('toggle-hidden'));
const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const remembered = (make, known = new Map()) => key => known.get(key) ?? known.set(key, make(key)).get(key);
const colour = remembered(text => {  // whatever CSS may write, as red, green, blue and opacity
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
});
const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
const ground = remembered(e => e ? over(colour(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255]);
const opacity = remembered(e => e ? getComputedStyle(e).opacity * opacity(e.parentElement) : 1);
const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = remembered(e => {
  const [r, g, b, a] = colour(getComputedStyle(e).color);
  const [high, low] = [light(over([r, g, b, a * opacity(e)], ground(e))), light(ground(e))].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
});
const named = e => (e.tagName + '.' + e.className).toLowerCase();
const place = e => named(e.closest('[class]') ?? document.body) + ' ' + e.tagName.toLowerCase();
const faint = {};
const texts = document.createTreeWalker(document.querySelector('article'), NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const e = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
  if (words && e.checkVisibility({visibilityProperty: true}) && !e.closest('mjx-container') && contrast(e) < 4.5)
    faint[place(e)] ??= contrast(e).toFixed(2) + ': ' + words.slice(0, 40);
}
return faint;
"""
# What a reader should never see: source of a table or a record; and the number of rows of the tables of claims.
LEFT = """
const tables = [...document.querySelectorAll('article table')].filter(t => t.tHead?.rows[0].cells[0].innerText.trim() === 'Claim');
return [document.querySelector('article').textContent.match(/[|] Claim [|]|Record[(]id=|<built-in/g) ?? [],
        tables.map(t => t.tBodies[0].rows.length)];
"""
# What a desk of 1,440 pixels shows cut off, columns without a name, and statements and equations without a link to them.
CUT = """
const name = e => e.closest('[id]')?.id ?? e.textContent.slice(0, 40);
const formulas = [...document.querySelectorAll('article mjx-container[display="true"]')];
const headers = [...document.querySelectorAll('article table th')].filter(e => !e.textContent.trim());
const linked = [...document.querySelectorAll('article div.math[id], article div.proof[id]:not(.proof .proof)')]
  .filter(e => e.querySelector('.eqno, .caption-number') && !e.querySelector(`a.headerlink[href="#${e.id}"]`));
return [...formulas.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => 'cut off: formula ' + name(e)),
        ...[...document.querySelectorAll('article div.highlight-bash pre')].filter(e => e.scrollWidth > e.clientWidth).map(e => 'cut off: command ' + name(e)),
        ...headers.map(e => 'column without a name: ' + e.closest('table').innerText.slice(0, 40)),
        ...linked.map(e => 'no permalink: ' + e.id),
        ...[...document.querySelectorAll('[tabindex]')].filter(e => e.tabIndex > 0).map(e => 'out of the order of tabs: ' + name(e))];
"""
WIDE = """
const limit = arguments[0];
const wide = [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > limit + 1);
return [document.scrollingElement.scrollWidth, wide.slice(0, 3).map(e => e.tagName + '.' + e.className)];
"""


def look(browser, path: Path, claims: int | None = None) -> list[str]:
    """What is wrong with one page, on which there should be a table of so many claims."""
    desk = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desk)
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
    wrong += browser.execute_script(CUT)
    left, tables = browser.execute_script(LEFT)
    wrong += [f"source on the page: {text}" for text in left]
    if claims is not None and tables != [claims]:
        wrong.append(f"expected one table of {claims} claims, got {tables}")
    for mode in ("light", "dark"):
        faint = browser.execute_script(FAINT, mode)
        wrong += [f"contrast in {mode} mode, {place}: {text}" for place, text in faint.items()]
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


@pytest.mark.parametrize("chosen", [page_of_each_kind, pytest.param(different_pages, marks=pytest.mark.heavy)])
def test_pages_are_as_they_should_be(chosen, book, browser):
    pages = chosen(book)
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (book / "records").iterdir()}
    claims = {book / "notebooks" / f"{chapter}.html": len(found) for chapter, found in records.items()}
    assert set(claims) <= set(different_pages(book))
    wrong = {
        path.relative_to(book).as_posix(): found for path in pages if (found := look(browser, path, claims.get(path)))
    }
    assert wrong == {}


# What the scorecard shows: claims in sight, and what the filter says of their number.
SHOWN = """
const rows = [...document.querySelectorAll('article table.scorecard tbody tr')].filter(row => row.checkVisibility());
return [rows.map(row => row.querySelector('a[id]').id.replace('claim-', '')),
        document.querySelector('.scorecard-filter output').textContent];
"""
CHOOSE = """
const [label, value] = arguments, control = document.querySelector(`.scorecard-filter [aria-label="${label}"]`);
control.value = value;
control.dispatchEvent(new Event('input'));
"""


def test_the_scorecard_filters_and_sorts(book, browser):
    rows = json.loads((book / "scorecard.json").read_text(encoding="utf-8"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((book / "book" / "scorecard.html").absolute().as_uri())

    def shown(**choices: str) -> list[str]:
        for label, value in {"verdict": "", "source": "", "chapter": "", "words": "", **choices}.items():
            browser.execute_script(CHOOSE, label, value)
        names, says = browser.execute_script(SHOWN)
        assert says == f"{len(names)} of {len(rows)} claims"
        return names

    everything = [row["claim"] for row in rows]
    assert sorted(shown()) == sorted(everything)
    for verdict in {row["verdict"] for row in rows}:
        assert set(shown(verdict=verdict)) == {row["claim"] for row in rows if row["verdict"] == verdict}
    assert set(shown(source="P")) == {row["claim"] for row in rows if re.search(r"\[(\w)\]", row["source"])[1] == "P"}
    last = rows[-1]
    assert last["claim"] in shown(words=last["claim"].upper())
    assert shown(words="no such words at all") == []
    # A link to a claim that is filtered away shows it.
    browser.execute_script("location.hash = arguments[0]", f"claim-{last['claim']}")
    WebDriverWait(browser, 20).until(lambda session: last["claim"] in session.execute_script(SHOWN)[0])
    for sign in (1, -1):
        values = browser.execute_script("""
            const table = document.querySelector('article table.scorecard');
            table.tHead.rows[0].cells[2].querySelector('button').click();
            return [...table.tBodies[0].rows].map(row => row.cells[2].querySelector('data')?.value);""")
        numbers = [sign * float(value) for value in values if value is not None]
        assert numbers == sorted(numbers)


def test_a_newcomer_finds_the_way_in_three_clicks(book, browser):
    """From the home page to what the paper claims and is not reproduced, to a kernel of one's own, and to the proof of Lemma 3."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By

    rows = json.loads((book / "scorecard.json").read_text(encoding="utf-8"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    wait = WebDriverWait(browser, 60, ignored_exceptions=[StaleElementReferenceException])
    loaded = "return location.href.endsWith(arguments[0]) && document.readyState === 'complete'"

    def walk(*clicks: str) -> None:
        """Clicks on links of the article, by their selectors or words, from the home page."""
        assert len(clicks) <= 3
        browser.get((book / "index.html").absolute().as_uri())
        wait.until(lambda session: session.execute_script(loaded, "intro.html"))
        for click in clicks:
            by = (By.CSS_SELECTOR, f"article {click}") if "[" in click else (By.PARTIAL_LINK_TEXT, click)
            link = wait.until(lambda session, by=by: [at for at in session.find_elements(*by) if at.is_displayed()])[0]
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
            goal = link.get_attribute("href")
            link.click()
            wait.until(lambda session, goal=goal: session.execute_script(loaded, goal))

    failed = {row["claim"] for row in rows if row["source"].startswith("[P]") and row["verdict"] == "not reproduced"}
    assert failed
    walk('a[href*="source=P"][href*="verdict=not+reproduced"]')
    verdicts = {row["claim"]: row["verdict"] for row in rows}
    # The page's script filters once it has been read.
    wait.until(lambda session: {verdicts[claim] for claim in session.execute_script(SHOWN)[0]} == {"not reproduced"})
    shown, _ = browser.execute_script(SHOWN)
    assert set(shown) >= failed

    walk("the kernel of your own stochastic architecture")
    assert "kernel.ntk" in browser.find_element(By.CSS_SELECTOR, "article div.highlight").text

    walk("Where is Lemma 4?", 'a[href$="#thm:06-lemma3"]')
    proof = browser.execute_script("""
        const statement = document.getElementById(location.hash.slice(1)).closest('div.proof');
        const next = statement.nextElementSibling ?? statement.parentElement.nextElementSibling;
        return [statement.innerText.slice(0, 80), next.innerText.slice(0, 40)];""")
    assert "Lemma 3" in proof[0]
    assert proof[1].startswith("Proof")


def test_a_dark_system_gets_a_dark_page(book, browser):
    for mode in ("dark", "light"):
        preference = {"name": "prefers-color-scheme", "value": mode}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
        browser.get((book / "book" / "intro.html").absolute().as_uri())
        assert browser.execute_script("return document.documentElement.dataset.theme") == mode


# The figure with sliders: the images of its modes that are in sight, as a reader's and as a file's name.
MOVING = """
const figure = document.querySelector('.snn-controls').parentElement;
const seen = [...figure.querySelectorAll('img')].filter(image => image.checkVisibility());
return [seen.map(image => image.src.split('/').pop()), [...figure.querySelectorAll('output')].map(e => e.textContent)];
"""


def test_a_figure_follows_the_mode_moves_and_grows_by_keyboard(book, browser):
    from selenium.webdriver.common.keys import Keys

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((book / "notebooks" / "05-stochastic-ntk.html").absolute().as_uri())
    for mode, ending in (("light", "svg"), ("dark", "dark.svg")):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", mode)
        sliders = browser.find_elements("css selector", ".snn-controls input")
        for slider in sliders:
            slider.send_keys(Keys.HOME)
        (image,), before = browser.execute_script(MOVING)
        assert image == f"kernel.0.0.{ending}"
        sliders[0].send_keys(Keys.ARROW_RIGHT)
        (image,), after = browser.execute_script(MOVING)
        assert image == f"kernel.1.0.{ending}"
        assert (after[0] != before[0], after[1]) == (True, before[1])
    assert {path.name for path in (book / "figures" / "05-stochastic-ntk").glob("kernel.1.*")} >= {
        "kernel.1.0.svg",
        image,
    }

    button = browser.find_element("css selector", "button.snn-enlarge")
    button.send_keys(Keys.ENTER)
    (shown,) = browser.find_elements("css selector", "dialog.snn-enlarged[open]")
    assert [image.is_displayed() for image in shown.find_elements("css selector", "img")] == [False, True]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    WebDriverWait(browser, 20).until(lambda session: not session.find_elements("css selector", "dialog.snn-enlarged"))
    assert browser.switch_to.active_element == button


def test_a_figure_stays_legible_on_a_phone(book, browser):
    size = {"width": PHONE, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((book / "notebooks" / "05-stochastic-ntk.html").absolute().as_uri())
    browser.execute_async_script(LOOK)
    frames = browser.execute_script("""
        return [...document.querySelectorAll('.snn-frame')].map(frame => {
          const image = [...frame.querySelectorAll('img')].find(image => image.checkVisibility());
          return [image.clientWidth, frame.scrollWidth > frame.clientWidth, frame.clientWidth, frame.tabIndex];
        });""")
    assert frames
    for image, scrolls, frame, tab in frames:
        # Drawn 7 inches wide with letters of 8.5 pt and more, of which 7 are left.
        assert 8.5 * (image * 72 / 96) / (7 * 72) >= 7
        assert (scrolls, frame <= PHONE, tab) == (True, True, 0)


# What is wider than its box: whether it stands in a theorem, and whether it fades out to the left and to the right.
SCROLLS = """
const end = arguments[0], boxes = [...document.querySelectorAll('article :is(mjx-container, pre, table, .snn-frame)')]
  .filter(box => getComputedStyle(box).overflowX === 'auto' && box.scrollWidth > box.clientWidth + 1);
if (end) boxes.forEach(box => { box.scrollLeft = box.scrollWidth; });
const masked = box => getComputedStyle(box).maskImage !== 'none';
return new Promise(done => setTimeout(() => done(boxes.map(box => [box.closest('.proof') !== null, masked(box),
  box.classList.contains('snn-more-left'), box.classList.contains('snn-more-right')])), 300));
"""


def test_on_a_phone_what_goes_on_fades_out(book, browser):
    size = {"width": PHONE, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((book / "book" / "07-convergence.html").absolute().as_uri())
    browser.execute_async_script(LOOK)
    for end, faded in ((False, [True, False, True]), (True, [True, True, False])):
        boxes = browser.execute_script(SCROLLS, end)
        assert any(in_theorem for in_theorem, *_ in boxes)
        assert all(rest == faded for _, *rest in boxes)


def test_index_leads_to_the_first_page(book, browser):
    browser.get((book / "index.html").absolute().as_uri())
    WebDriverWait(browser, 20).until(lambda session: session.current_url.endswith("intro.html"))


def test_search_finds_price(book, browser):
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((book / "search.html").absolute().as_uri() + "?q=Price")

    def finds_price(session) -> bool:
        """Whether one of the results so far is a page on which the word stands; they appear one by one."""
        links = session.find_elements(By.CSS_SELECTOR, "ul.search li a")
        targets = {urllib.parse.unquote(urllib.parse.urlsplit(link.get_attribute("href")).path) for link in links}
        return any("Price" in Path(target).read_text(encoding="utf-8") for target in targets)

    assert WebDriverWait(browser, 20).until(finds_price)


def test_tabs_go_through_a_page_from_its_top(book, browser):
    from selenium.webdriver.common.keys import Keys

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((book / "book" / "07-convergence.html").absolute().as_uri())
    places, names = [], []
    for _ in range(12):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        place, name = browser.execute_script(
            "const e = document.activeElement; return [[...document.querySelectorAll('*')].indexOf(e), e.textContent.trim()]"
        )
        places.append(place)
        names.append(name)
    assert names[0] == "Skip to main content"
    assert places == sorted(set(places))


AXE = """
const done = arguments[arguments.length - 1], levels = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
// What a formula is drawn of is not looked at: its box is, and what is read out stands beside it.
axe.run({exclude: [['mjx-container svg'], ['mjx-assistive-mml']]}, {runOnly: levels}).then(found => done(
  found.violations.map(v => `${v.id}, ${v.nodes.length} times: ${v.nodes[0].target.join(' ')}`)));
"""


@pytest.mark.weekly
@pytest.mark.parametrize("width", [1440, PHONE])
def test_no_page_fails_wcag_at_level_aa(width, book, browser):
    """By axe-core, which the package axe-playwright-python ships."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-playwright-python is not installed: run make again")
    axe = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.set_script_timeout(300)
    wrong = {}
    for path in [*different_pages(book), book / "search.html"]:
        browser.get(path.absolute().as_uri())
        browser.execute_async_script(LOOK)
        browser.execute_script(axe)
        if failed := browser.execute_async_script(AXE):
            wrong[path.relative_to(book).as_posix()] = failed
    assert wrong == {}


@pytest.mark.weekly
def test_the_book_on_paper(book, tmp_path, browser):
    pypdf = pytest.importorskip("pypdf")
    pages = pdf.pages_in_order(book)
    assert {path.name for path in pages} >= {"intro.html", "07-convergence.html", "scorecard.html", "api.html"}
    pdf.make_pdf(book, tmp_path / "book.pdf")
    printed = pypdf.PdfReader(tmp_path / "book.pdf")
    texts = [page.extract_text() for page in printed.pages]
    assert len(pages) <= len(texts) < 1500  # each begins on a new sheet
    for number, text in enumerate(texts, 1):
        assert re.match(rf"{number}\b", text), f"no number on sheet {number}"
    whole = " ".join(" ".join(texts).split())
    for words in ("Theorem 7.2", "[P] Lemma 4, corrected", "A number with its chapter in it", "Report on one page"):
        assert words in whole
    solutions = [path for path in pages if "Solution" in path.read_text(encoding="utf-8")]
    assert solutions
    assert whole.count("Solution") >= len(solutions)
    assert "Search this book" not in whole  # no sidebar
    # The report names a theorem of chapter 7, and its link leads to the sheet on which that stands.
    sheets = {page.indirect_reference: number for number, page in enumerate(printed.pages)}
    links = [(number, a.get_object()) for number, page in enumerate(printed.pages) for a in page.get("/Annots", [])]
    assert not [a for _, a in links if str(a.get("/A", {}).get("/URI", "")).startswith(pdf.ELSEWHERE)]
    (report,) = (number for number, text in enumerate(texts) if "Report on one page" in text and "Scope." in text)
    goals = {sheets[a["/Dest"][0]] for number, a in links if "/Dest" in a and number in (report, report + 1)}
    theorem = re.search(r"Theorem 7[.]\d+", texts[report])
    assert theorem
    assert any(theorem[0] in texts[goal] for goal in goals - {report, report + 1})


def test_a_bad_page_is_noticed(tmp_path, browser):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width, initial-scale=1"><article>'
        '<span class="math">x</span><img src="gone.png"><div style="width:600px">wide</div>'
        '<p style="opacity:0.5">grey</p><details><div style="background:#ced6dd"><p class="p" style="color:#9ca4af99">pale</p>'
        "</div></details><pre>Record(id='a')</pre><p>| Claim | Verdict |</p>"
        '<table><tr><th></th></tr></table><div class="math" id="eq"><span class="eqno">(1)</span></div>'
        '<div class="highlight-bash"><pre style="width:9px;overflow:auto">make</pre></div><p tabindex="1">first</p></article>'
        '<script src="https://example.org/x.js"></script><script>missing()</script>'
    )
    wrong = "\n".join(look(browser, page, claims=1))
    for sign in (
        "0 typeset",
        "image not shown",
        "without alternative",
        "pixels wide on a phone",
        "source on the page: Record(id=",
        "source on the page: | Claim",
        "one table of 1 claims, got []",
        "3.98: grey",
        "p.p p: 1.3",
        "missing is not",
        "example.org",
        "column without a name",
        "no permalink: eq",
        "cut off: command",
        "out of the order of tabs",
    ):
        assert sign in wrong
