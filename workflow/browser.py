"""Headless Chromium, as the browser test and the PDF use it: from disk, without a network."""

from __future__ import annotations

import shutil
from typing import Any

__all__ = ["find_chromium", "open_browser"]

FLAGS = (
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
)


def find_chromium() -> tuple[str, str] | None:
    """Chromium and its driver; None if one of them is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


def open_browser(patience: float = 60) -> Any:
    """A session of selenium, which logs the console and what it asks the network for; the caller quits it.

    Args:
        patience: Seconds that a page or a script may take.

    Raises:
        FileNotFoundError: If there is no Chromium or no driver of it, saying what to install.
    """
    found = find_chromium()
    if found is None:
        raise FileNotFoundError(
            "Chromium or its driver is not installed; on Debian or Ubuntu: apt install chromium chromium-driver"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=found[1]))
    session.command_executor.client_config.timeout = patience + 60
    session.set_page_load_timeout(patience)
    session.set_script_timeout(patience)
    return session
