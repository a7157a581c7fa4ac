"""The pages in a real Chromium: accessible by axe-core, at every width, without script."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from exporter.web.pages import run_path
from tests.pages_support import STATES
from tests.real.parts import require
from tests.web_support import Served, serving

pytestmark = pytest.mark.real

# A desk at night, and a phone by day: each colour and each width is looked at.
VIEWS: Final[tuple[tuple[int, Literal["dark", "light"]], ...]] = ((1280, "dark"), (390, "light"))
HEIGHT: Final = 900


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Served]]:
    """The site in every state."""
    with ExitStack() as stack:
        deployments = {
            name: stack.enter_context(closing(state(tmp_path_factory.mktemp(name))))
            for name, state in STATES.items()
        }
        yield {
            name: stack.enter_context(serving(deployment.site()))
            for name, deployment in deployments.items()
        }


@pytest.fixture(scope="module")
def browser(sites: Mapping[str, Served]) -> Iterator[Browser]:
    """Gone before the sites are closed: until then it holds the thread's event loop."""
    program = require("chromium", hint="Debian's package chromium has it")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=sandbox)


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page of a context of its own, which is made as a test says."""
    with closing(browser.new_context(**getattr(request, "param", {}))) as context:
        yield context.new_page()


def paths_of(served: Served) -> list[str]:
    """A page of each kind; the run with the most tool calls."""
    runs = served.ask("/runs?format=json").json()["runs"]
    most = sorted(runs, key=lambda run: run["tool_calls"] or 0)[-1:]
    return ["/?refresh=0", "/runs", *("/" + run_path(run) for run in most)]


@pytest.mark.parametrize("state", STATES)
def test_every_page_can_be_read_by_anybody(
    sites: Mapping[str, Served], page: Page, state: str
) -> None:
    """No violation of axe-core, nothing wider than the screen, nothing that the policy forbids."""
    served = sites[state]
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    for path in paths_of(served):
        for width, scheme in VIEWS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.emulate_media(color_scheme=scheme)
            page.goto(served.url + path)
            found = Axe().run(page).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_filters_and_pages_work_without_script(sites: Mapping[str, Served], page: Page) -> None:
    """A form and links are enough; all that is chosen stands in the URL."""
    page.goto(f"{sites['busy'].url}/")
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


def test_the_keyboard_reaches_the_content_first(sites: Mapping[str, Served], page: Page) -> None:
    """The first stop is a link past the navigation, and it is seen once it has the focus."""
    page.goto(f"{sites['busy'].url}/runs")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    box = focused.bounding_box()
    assert box is not None
    assert box["width"] > 100
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "All"
