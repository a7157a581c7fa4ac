"""The pages over real sockets: what each path answers, to whom, and in which form."""

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from exporter.metrics.exposition import OPENMETRICS, TEXT
from exporter.web.server import WebServer
from exporter.web.view import Readiness, StatusView
from tests.metrics_support import parse_openmetrics, parse_text
from tests.web_support import Answer, ask, connected, make_registry, running

R = TypeVar("R")

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready")
every_path = pytest.mark.parametrize("path", PATHS)


def served(scenario: Callable[[WebServer], Awaitable[R]], **parts: object) -> R:
    """What comes of a scenario with a running server."""

    async def run() -> R:
        async with running(**parts) as server:  # type: ignore[arg-type]  # names are checked when it runs
            return await scenario(server)

    return asyncio.run(run())


def answer_to(target: str, method: str = "GET", **headers: str) -> Answer:
    return served(lambda server: ask(server, target, method, **headers))


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", TEXT),
        ("/-/healthy", "text/plain; charset=utf-8"),
        ("/-/ready", "text/plain; charset=utf-8"),
        ("/metrics?collect=all", TEXT),
    ],
)
def test_every_path_answers_in_its_type(path: str, content_type: str) -> None:
    """Also with a query, which nothing looks at."""
    answer = answer_to(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == content_type
    assert answer.body


def test_metrics_are_those_of_the_registry() -> None:
    """A scrape parses, and shows what the sources read."""
    names = {family.name for family in parse_text(answer_to("/metrics").text)}
    assert "conduit_runs" in names


def test_openmetrics_is_answered_to_who_prefers_it() -> None:
    """Prometheus' own Accept header."""
    accept = (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    )
    answer = answer_to("/metrics", accept=accept)
    assert answer.headers["content-type"] == OPENMETRICS
    assert answer.text.endswith("# EOF\n")
    assert list(parse_openmetrics(answer.text))


@every_path
def test_head_is_get_without_the_body(path: str) -> None:
    """The length that it names is the one that GET has."""

    async def both(server: WebServer) -> tuple[Answer, Answer]:
        async with connected(server) as client:
            return await client.ask(path), await client.ask(path, "HEAD")

    got, head = served(both)
    assert (head.status, head.body) == (got.status, b"")
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize("accepted", ["gzip", "deflate, GZIP;q=0.5", "*", "x-gzip", "br;q=1, *"])
def test_a_scrape_is_compressed_for_who_takes_gzip(accepted: str) -> None:
    """The same text in a tenth of the bytes, and caches are told."""
    plain = answer_to("/metrics")
    packed = answer_to("/metrics", accept_encoding=accepted)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept, Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 3


@pytest.mark.parametrize(
    "accepted", ["identity", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "br", "gzip;q=nonsense"]
)
def test_a_scrape_is_plain_for_who_does_not_take_gzip(accepted: str) -> None:
    """A quality of zero is a refusal."""
    answer = answer_to("/metrics", accept_encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert answer.text.startswith("# HELP")


def test_little_is_not_compressed() -> None:
    """It would be no smaller on the wire."""
    answer = served(
        lambda server: ask(server, "/metrics", accept_encoding="gzip"),
        registry=make_registry(lambda: ()),
    )
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "//", "/-/", "/metrics%2f", "/%2e%2e/etc/passwd", "/-/reload"]
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    """In plain words, without a redirect to guess at."""
    answer = answer_to(path)
    assert (answer.status, answer.text) == (404, "Not Found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NONSENSE"]
)
@every_path
def test_nothing_but_get_and_head_is_allowed(path: str, method: str) -> None:
    """Nothing can be changed through the website."""
    answer = answer_to(path, method)
    assert (answer.status, answer.text) == (405, "Method Not Allowed\n")
    assert {one.strip() for one in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


def test_unready_says_why_a_reason_a_line() -> None:
    """Whatever an error's text holds."""
    reasons = ("The ledger cannot be written: disk\r\n full", "The first scan is not complete")
    answer = served(lambda server: ask(server, "/-/ready"), readiness=lambda: Readiness(reasons))
    assert answer.status == 503
    assert answer.text == (
        "The ledger cannot be written: disk full\nThe first scan is not complete\n"
    )


def test_who_is_unready_is_healthy() -> None:
    """A restart would not help."""
    answer = served(lambda server: ask(server, "/-/healthy"), readiness=lambda: Readiness(("no",)))
    assert (answer.status, answer.text) == (200, "Healthy\n")


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_has_the_protective_headers(path: str) -> None:
    """No frame, no guessing of types, no cache, no script."""
    headers = answer_to(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "deny"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["date"].endswith(" GMT")
    assert "server" not in headers


def test_an_error_tells_the_log_and_not_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """What failed is nobody's business out there; the next request is answered."""

    def fails() -> StatusView:
        raise RuntimeError("the secret inside")

    async def scenario(server: WebServer) -> tuple[Answer, Answer]:
        return await ask(server, "/"), await ask(server)

    with caplog.at_level(logging.ERROR):
        failed, after = served(scenario, status=fails)
    assert (failed.status, failed.text) == (500, "Internal Server Error")
    assert failed.headers["x-content-type-options"] == "nosniff"
    assert after.status == 200
    assert "the secret inside" in caplog.text


def test_a_connection_is_used_again() -> None:
    """A scraper need not connect for each scrape."""

    async def scenario(server: WebServer) -> list[int]:
        async with connected(server) as client:
            return [(await client.ask(path)).status for path in PATHS * 3]

    assert served(scenario) == [200] * 12


def test_pipelined_requests_are_answered_in_order() -> None:
    """All sent at once, each answered in its turn."""

    async def scenario(server: WebServer) -> list[tuple[int, str]]:
        async with connected(server) as client:
            for number in range(20):
                client.request("/-/healthy" if number % 2 else f"/{number}")
            answers = [await client.answer() for _ in range(20)]
            return [(one.status, one.text) for one in answers]

    assert served(scenario) == [(404, "Not Found\n"), (200, "Healthy\n")] * 10


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_wants_to_close_is_let_go(version: str) -> None:
    """By its header, or by a version that keeps nothing open."""

    async def scenario(server: WebServer) -> bytes:
        async with connected(server) as client:
            head = f"GET /-/healthy HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
            client.send(head.encode())
            return await client.rest()

    assert served(scenario).endswith(b"Healthy\n")


def test_an_upgrade_is_not_taken() -> None:
    """The request is answered as it stands."""
    answer = answer_to("/-/healthy", connection="Upgrade", upgrade="websocket")
    assert (answer.status, answer.text) == (200, "Healthy\n")
