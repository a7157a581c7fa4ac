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

from playwright.sync_api import Browser, sync_playwright

from docs.pictures.panels import WIDTH, Panels
from docs.pictures.week import week_in_prometheus
from tests.alert_rules import FOLDER as RULES
from tests.alert_rules import alerts
from tests.real.parts import find
from tests.real.processes import Process, eventually, free_port, loopback_client
from tests.real.prometheus import Prometheus

HERE = Path(__file__).parent
OVERVIEW = HERE.parent.parent / "deploy/grafana/overview.json"
# The rows Now, Money and Outcome.
UNTIL_ROW = 35
WITHIN_S = 300.0


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
    texts = [OVERVIEW, *RULES.glob("*.yaml")]
    with week_in_prometheus(folder, metrics="".join(path.read_text() for path in texts)) as (
        prometheus,
        now_s,
    ):
        panels = Panels(
            json.loads(OVERVIEW.read_text()),
            ask=lambda path, params: prometheus.api(path, **params),
            now_s=now_s,
            alerts=firing(prometheus, now_s),
        )
        body = "".join(panels.html(until_row=UNTIL_ROW))
    style = (HERE / "dashboard.css").read_text()
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{style}</style>'
        "<header><b>Conduit / Overview</b><span>Last 7 days, UTC</span></header>"
        f'<main style="height:{UNTIL_ROW * 38}px">{body}</main>'
        "<footer>A week of the demo in simulated time. Drawn from a Prometheus by docs/pictures, "
        "not by Grafana.</footer></html>"
    )


def firing(prometheus: Prometheus, now_s: float) -> str:
    """The alerts whose expression holds at that time, however long."""
    names = [
        name
        for name, rule in alerts().items()
        if prometheus.api("query", query=rule["expr"], time=now_s)["result"]
    ]
    return "".join(f"<p><i></i>{name}</p>" for name in names) or "<p>No alert is firing.</p>"


def take_pages(chromium: Browser, folder: Path, *, jaeger: str | None) -> None:
    """The status page, a run, and its trace in Jaeger where there is one."""
    address = f"127.0.0.1:{free_port()}"
    demo = [sys.executable, "-m", "exporter", "demo", "--listen", address]
    if jaeger is not None:
        demo += ["--otlp-endpoint", jaeger.replace("16686", "4318")]
    with Process(demo, log=folder / "demo.log"), loopback_client(f"http://{address}") as client:

        def told() -> dict[str, Any] | None:
            """A run with many calls, once all the newest runs have their traces."""
            runs = client.get("/runs?format=json").json()["runs"]
            if len(runs) < 50 or any(run["trace"] != "delivered" for run in runs[3:12]):  # noqa: PLR2004 - a page
                return None
            return max(runs, key=lambda run: run["tool_calls"] or 0)

        eventually(lambda: _up(client), what="the demo is up", timeout_s=WITHIN_S)
        run = eventually(told, what="traces of the newest runs", timeout_s=WITHIN_S)
        page = chromium.new_page(viewport={"width": 1180, "height": 1000})
        for name, path in (
            ("status", "/?refresh=0"),
            ("run", f"/runs/{run['agent_id']}/{run['id']}"),
        ):
            page.goto(f"http://{address}{path}")
            page.screenshot(path=HERE / f"{name}.png")
        if jaeger is not None:
            page.goto(f"{jaeger}/trace/{run['trace_id']}", wait_until="networkidle")
            page.screenshot(path=HERE / "jaeger.png")


def _up(client: Any) -> bool | None:
    try:
        return True if client.get("/-/ready").is_success else None
    except OSError:
        return None


if __name__ == "__main__":
    main()
