# ruff: noqa: INP001 (a program, no package)
"""Takes the pictures of README: the pages of the demo, and a dashboard's panels after a week of it.

    python -m docs.pictures [--jaeger http://localhost:16686]

Needs Chromium, Prometheus and promtool (`make real-parts`). A trace in Jaeger is taken where one
with its web pages is named, which the built one has not. Nothing here runs for users.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment
from playwright.sync_api import Browser, sync_playwright

from docs.pictures.panels import ROW, UNTIL_ROW, WIDTH, Panels
from docs.pictures.week import week_in_prometheus
from tests.alert_rules import FOLDER as RULES
from tests.alert_rules import alerts
from tests.real.parts import find
from tests.real.processes import Process, eventually, free_port, loopback_client

HERE = Path(__file__).parent
OVERVIEW = HERE.parent.parent / "deploy/grafana/overview.json"
# Of the 50 newest runs, how many have their trace when the pages are taken.
TOLD = 40
WITHIN_S = 600.0


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description="Take the pictures of README.")
    parser.add_argument("--jaeger", metavar="URL", help="a Jaeger with web pages, OTLP at 4318")
    jaeger = parser.parse_args().jaeger
    with tempfile.TemporaryDirectory() as folder:
        # Before the browser: its loop and that of simulated time do not go together.
        overview = overview_html(Path(folder))
        with browser() as chromium:
            page = chromium.new_page(viewport={"width": WIDTH + 28, "height": 900})
            page.set_content(overview)
            page.screenshot(path=HERE / "dashboard.png", full_page=True)
            take_pages(chromium, Path(folder), jaeger=jaeger)


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find("chromium"), args=sandbox)


def overview_html(folder: Path) -> str:
    """The upper rows of the Overview, drawn from a week of the demo."""
    board = json.loads(OVERVIEW.read_text())
    texts = [OVERVIEW, *RULES.glob("*.yaml")]
    metrics = "".join(path.read_text() for path in texts)
    with week_in_prometheus(folder, metrics=metrics) as (prometheus, now_s):
        panels = list(Panels(board, ask=prometheus.api, now_s=now_s).upper())
        # However long it has held: a week has no "for".
        firing = [
            name
            for name, rule in alerts().items()
            if prometheus.api("query", query=rule["expr"], time=now_s)["result"]
        ]
    template = Environment(autoescape=True).from_string((HERE / "dashboard.html").read_text())
    return template.render(
        title=board["title"], panels=panels, alerts=firing, height=UNTIL_ROW * ROW
    )


def take_pages(chromium: Browser, folder: Path, *, jaeger: str | None) -> None:
    """The status page, a run, and its trace in Jaeger where there is one."""
    address = f"127.0.0.1:{free_port()}"
    demo = [sys.executable, "-m", "exporter", "demo", "--listen", address]
    if jaeger is not None:
        demo += ["--otlp-endpoint", jaeger.replace("16686", "4318")]
    url = f"http://{address}"
    with Process(demo, log=folder / "demo.log") as process, loopback_client(url) as client:

        def told() -> dict[str, Any] | None:
            """A run with many calls, once all the newest runs have their traces."""
            runs: list[dict[str, Any]] = client.get("/runs?format=json").json()["runs"]
            told = [run for run in runs if run["trace"] == "delivered"]
            if len(told) < TOLD:
                return None
            return max(told, key=lambda run: run["tool_calls"])

        process.wait_http(f"{url}/-/ready", ready=lambda answer: answer.is_success)
        run = eventually(told, what="traces of the newest runs", timeout_s=WITHIN_S)
        page = chromium.new_page(viewport={"width": 1180, "height": 1000})
        for name, path in (
            ("status", "/?refresh=0"),
            ("run", f"/runs/{run['agent_id']}/{run['id']}"),
        ):
            page.goto(url + path)
            page.screenshot(path=HERE / f"{name}.png")
        if jaeger is not None:
            page.goto(f"{jaeger}/trace/{run['trace_id']}", wait_until="networkidle")
            page.screenshot(path=HERE / "jaeger.png")


if __name__ == "__main__":
    main()
