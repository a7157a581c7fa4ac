"""The pages in a real Chromium: accessible by axe-core, at every width, without script."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

from exporter.web.pages import run_path
from tests.pages_support import STATES
from tests.real.parts import require
from tests.web_support import Served, serving

pytestmark = pytest.mark.real

# A desk at night, and a phone by day: each colour and each width is looked at.
VIEWS: Final[tuple[tuple[int, Literal["dark", "light"]], ...]] = ((1280, "dark"), (390, "light"))
HEIGHT: Final = 900


@pytest.fixture
def browser() -> Iterator[Browser]:
    program = require("chromium", hint="Debian's package chromium has it")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=sandbox)


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The site in the state that a test names."""
    deployment = STATES[getattr(request, "param", "busy")](tmp_path)
    with ExitStack() as stack:
        stack.callback(deployment.close)
        yield stack.enter_context(serving(deployment.site()))


def paths_of(served: Served) -> dict[str, str]:
    """A page of each kind; the run with the most tool calls."""
    runs = served.ask("/runs?format=json").json()["runs"]
    paths = {"status": "/?refresh=0", "runs": "/runs"}
    if runs:
        paths["run"] = "/" + run_path(max(runs, key=lambda run: run["tool_calls"] or 0))
    return paths


@pytest.mark.parametrize("served", STATES, indirect=True)
def test_every_page_can_be_read_by_anybody(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    """No violation of axe-core, nothing wider than the screen, nothing that the policy forbids."""
    said: list[str] = []
    for width, scheme in VIEWS:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=scheme
        )
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        for name, path in paths_of(served).items():
            page.goto(served.url + path)
            page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
            found = Axe().run(page).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()
    assert said == []


def test_filters_and_pages_work_without_script(served: Served, browser: Browser) -> None:
    """A form and links are enough; all that is chosen stands in the URL."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served.url}/")
    page.get_by_role("link", name="Stop that").click()
    assert page.url.endswith("/?refresh=0")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Runs").click()
    page.get_by_label("Agent").select_option("Concierge")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("navigation", name="Outcome").get_by_role("link", name="Completed").click()
    page.get_by_role("link", name="Older").click()
    for part in ("agent=ag_0", "status=completed", "before="):
        assert part in page.url
    page.locator("table.runs tbody a").first.click()
    assert "/runs/ag_0/" in page.url
    assert page.locator("h1").inner_text().startswith("Run ar_")


def test_the_keyboard_reaches_the_content_first(served: Served, browser: Browser) -> None:
    """The first stop is a link past the navigation, and it is seen once it has the focus."""
    page = browser.new_page()
    page.goto(f"{served.url}/runs")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    box = focused.bounding_box()
    assert box is not None
    assert box["width"] > 100
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "All"
