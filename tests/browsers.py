"""For tests of pages: a real browser, if there is one on this machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser() -> Iterator:
    """Chromium, driven by playwright: the machine's own or playwright's. Where either is missing, tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
    path = next(filter(None, map(shutil.which, INSTALLED)), None)
    with playwright.sync_playwright() as driver:
        try:
            found = driver.chromium.launch(executable_path=path)
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield found
        found.close()


@contextmanager
def watched(found, address: str, **options) -> Iterator:
    """A page that must be clean: it asks for nothing but itself, opens nothing, and its console stays empty."""
    page = found.new_page(**options)
    page.set_default_timeout(120_000)  # a machine may be busy
    requests, troubles = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message) or dialog.dismiss())
    page.goto(address)
    yield page
    assert requests == [address] and troubles == []
    page.close()
