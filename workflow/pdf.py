"""The whole book as one PDF: headless Chromium prints a chapter at a time, page and notebook together, and pypdf joins them.

Solutions are unfolded, the code of cells that only plot is left out. `custom.css` says how a page is printed. All pages at once would be a
document whose printing takes a multiple of the time of its parts; so a link to another chapter is printed as an address of its own (`ELSEWHERE`), which
gives way to the place in the whole book when the parts are joined.
"""

from __future__ import annotations

import argparse
import base64
import io
import time
import urllib.parse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from browser import open_browser
from bs4 import BeautifulSoup, Tag
from paths import PROFILES, Paths

if TYPE_CHECKING:
    from pypdf import PdfWriter

__all__ = ["chapters", "make_pdf", "pages_in_order", "single_page"]

LEFT_OUT = "script, .headerlink, .copybtn, .scorecard-filter, .viewcode-link, details.hide, nav, .prev-next-footer, .launch, .toctree-wrapper"
ELSEWHERE = "book:"
TYPESET = """
const done = arguments[arguments.length - 1];
Promise.all([document.fonts.ready, window.MathJax?.startup?.promise, ...[...document.images].map(i => i.decode().catch(() => null))])
  .then(() => done(document.querySelectorAll('.math').length - document.querySelectorAll('mjx-container').length));
"""


def _parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def pages_in_order(html: Path) -> list[Path]:
    """The pages of a published book as its sidebar lists them, the introduction first."""
    start = html / "book" / "intro.html"
    links = _parsed(start).select(".bd-links a.reference.internal")
    listed = [(start.parent / str(link["href"]).partition("#")[0]).resolve() for link in links]
    return list(dict.fromkeys([start.resolve(), *(page for page in listed if page.is_file())]))


def _name(page: Path, html: Path) -> str:
    return page.relative_to(html).with_suffix("").as_posix().replace("/", "-")


def _article(page: Path, html: Path, here: set[Path], book: set[Path]) -> Tag:
    """A page's article whose anchors are unique in the book, and whose links lead to what is printed with it, elsewhere in the book, or out of it."""
    article = _parsed(page).select_one("article.bd-article")
    assert article is not None, page
    for left_out in article.select(LEFT_OUT):
        left_out.decompose()
    name = _name(page, html)
    for tag in article.select("[id]"):
        tag["id"] = f"{name}--{tag['id']}"
    for details in article.select("details"):
        details["open"] = ""
    for link in article.select("a[href]"):
        parts = urllib.parse.urlsplit(str(link["href"]))
        if parts.scheme:
            continue
        goal = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
        anchor = _name(goal, html) + (f"--{parts.fragment}" if parts.fragment else "") if goal in book else ""
        if anchor:
            link["href"] = f"{'#' if goal in here else ELSEWHERE}{anchor}"
        else:
            del link["href"]
    for image in article.select("img[src]"):
        if not str(image["src"]).startswith("data:"):
            image["src"] = (page.parent / urllib.parse.unquote(str(image["src"]))).resolve().as_uri()
    article["id"] = name
    return article


def chapters(pages: list[Path]) -> list[list[Path]]:
    """Pages that are printed together: one, or a chapter's and its notebook.

    >>> [len(group) for group in chapters([Path("book/01-a.html"), Path("notebooks/01-a.html"), Path("book/data.html")])]
    [2, 1]
    """
    groups: list[list[Path]] = []
    for page in pages:
        if groups and groups[-1][-1].stem == page.stem:
            groups[-1].append(page)
        else:
            groups.append([page])
    return groups


def single_page(html: Path, pages: list[Path], book: Collection[Path], before: int = 0) -> str:
    """Pages of the published book as one page of HTML, for printing from anywhere on this disk.

    Args:
        html: The published book.
        pages: Of it.
        book: All pages that links may lead to.
        before: How many sheets are numbered already.
    """
    first = _parsed(pages[0])
    head = []
    for tag in first.select("head link[rel=stylesheet], head style, script"):
        if tag.name == "script" and "mathjax" not in (str(tag.get("src", "")) + tag.text).lower():
            continue
        for key in ("href", "src"):
            if key in tag.attrs:
                tag[key] = (pages[0].parent / str(tag[key]).partition("?")[0]).resolve().as_uri()
        head.append(str(tag))
    title = first.title.text if first.title else ""
    articles = [_article(page, html, set(pages), set(book)) for page in pages]
    anchors = [tag["id"] for article in articles for tag in [article, *article.select("[id]")]]
    # Chromium notes the places that a link of the same document leads to, seen or not.
    noted = "".join(f'<a href="#{anchor}"></a>' for anchor in anchors)
    joined = "\n".join(map(str, articles))
    return (
        f'<!doctype html>\n<html lang="en" data-theme="light" data-mode="light" class="whole-book"><head><meta charset="utf-8">'
        f"<title>{title}</title>\n{''.join(head)}<style>html {{ counter-reset: page {before}; }}</style></head>\n"
        f'<body><main class="bd-content"><div class="bd-article-container">\n{joined}\n</div></main><div hidden>{noted}</div></body></html>\n'
    )


def _lead(book: PdfWriter, places: Mapping[str, tuple[int, float]]) -> None:
    """Makes every link within the book lead to its page and height there; one to an anchor that was not printed, to its article."""
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

    for link in (annotation.get_object() for page in book.pages for annotation in page.get("/Annots", ())):
        target = str(link.get("/Dest") or link.get("/A", {}).get("/URI", ""))
        if not target.startswith(("/", ELSEWHERE)):
            continue
        anchor = urllib.parse.unquote(target.removeprefix("/").removeprefix(ELSEWHERE))
        sheet, height = places.get(anchor) or places[anchor.partition("--")[0]]
        link.pop("/A", None)
        goal = [
            book.pages[sheet].indirect_reference,
            NameObject("/XYZ"),
            NullObject(),
            FloatObject(height),
            NullObject(),
        ]
        link[NameObject("/Dest")] = ArrayObject(goal)


def make_pdf(html: Path, target: Path) -> None:
    """Prints a published book.

    Raises:
        RuntimeError: If mathematics could not be typeset.
    """
    from pypdf import PdfReader, PdfWriter

    html = html.resolve()
    book, places = PdfWriter(), {}
    listed = pages_in_order(html)
    target.parent.mkdir(parents=True, exist_ok=True)
    page = target.with_suffix(".html")
    session = open_browser(patience=600)
    options = {
        "preferCSSPageSize": True,
        "printBackground": True,
        "generateDocumentOutline": True,
        "generateTaggedPDF": True,
    }
    try:
        for pages in chapters(listed):
            page.write_text(single_page(html, pages, listed, len(book.pages)), encoding="utf-8")
            session.get(page.absolute().as_uri())
            if missing := session.execute_async_script(TYPESET):
                raise RuntimeError(f"{pages[0]}: expected every formula typeset, got {missing} that are not")
            printed = session.execute_cdp_cmd("Page.printToPDF", options)
            part = PdfReader(io.BytesIO(base64.b64decode(printed["data"])))
            for name, place in part.named_destinations.items():
                sheet, top = part.get_destination_page_number(place), place.top
                if sheet is not None and top is not None:
                    places[urllib.parse.unquote(name.removeprefix("/"))] = (len(book.pages) + sheet, float(top))
            book.append(part)
    finally:
        session.quit()
        page.unlink(missing_ok=True)
    _lead(book, places)
    book.write(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument("--root", type=Path, default=Path("."))
    arguments = parser.parse_args()
    paths = Paths(arguments.root, arguments.profile)
    if not (paths.html / "index.html").is_file():
        raise SystemExit(f"There is no book at {paths.html}: make book PROFILE={arguments.profile}")
    started = time.monotonic()
    try:
        make_pdf(paths.html, paths.pdf)
    except (FileNotFoundError, RuntimeError) as error:
        raise SystemExit(f"pdf: {error}") from None
    print(
        f"The book on paper: {paths.pdf} ({paths.pdf.stat().st_size / 1e6:.0f} MB, {time.monotonic() - started:.0f} s)"
    )


if __name__ == "__main__":
    main()
