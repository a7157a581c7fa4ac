"""What each path answers, to whom, and in which form, over real sockets."""

import gzip
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from exporter.metrics.catalogue import TRACES_PENDING
from exporter.metrics.collector import Sample
from tests.metrics_support import make_metrics, parse_openmetrics
from tests.web_support import LIMIT_S, Client, Served, serving

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/style.css")


@pytest.fixture(scope="module")
def site() -> Iterator[Served]:
    """One server for all tests that only ask."""
    with serving() as served:
        yield served


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?format=json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/metrics?collect=all", "text/plain; version=0.0.4; charset=utf-8"),
        ("/-/healthy", "text/plain; charset=utf-8"),
        ("/-/ready", "text/plain; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ],
)
def test_every_path_answers_in_its_type(site: Served, path: str, content_type: str) -> None:
    """Also with a query that means nothing."""
    answer = site.ask(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.content


def test_openmetrics_is_answered_to_who_asks_for_it(site: Served) -> None:
    """Prometheus' own Accept header, which may be cut into several fields."""
    accept = [
        ("accept", "application/openmetrics-text;version=1.0.0;q=0.5"),
        ("accept", "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"),
    ]
    answer = site.ask("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert list(parse_openmetrics(answer.text))


def test_a_scrape_is_compressed_for_who_takes_gzip(site: Served) -> None:
    """The same text in a fraction of the bytes, and caches are told."""
    with Client(site) as client:
        client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n")
        client.send(b"Connection: close\r\n\r\n")
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    assert b"vary: accept, accept-encoding" in head.lower()
    text = gzip.decompress(body)
    assert text.startswith(b"# HELP conduit_runs_total")
    assert len(body) < len(text) / 3
    plain = site.ask("/metrics", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "//", "/-/", "/metrics%2f", "/%2e%2e/etc/passwd", "/-/reload"]
)
def test_what_is_not_there_is_not_found(site: Served, path: str) -> None:
    """In plain words, without a redirect to guess at."""
    answer = site.ask(path)
    assert (answer.status_code, answer.text) == (404, "Not Found")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "NONSENSE"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_get_and_head_is_allowed(site: Served, path: str, method: str) -> None:
    """Nothing can be changed through the website."""
    answer = site.ask(path, method)
    assert answer.status_code == 405
    assert {one.strip() for one in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_has_the_protective_headers(site: Served, path: str) -> None:
    """No frame, no guessing of types, no cache, no script."""
    headers = site.ask(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "deny"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; ")
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["date"].endswith(" GMT")
    assert "server" not in headers


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/metrics?" + "x" * 2041, {}, 414),
        ("/" + "x" * 2048, {}, 414),
        ("/metrics?" + "x" * 2039, {}, 200),
        ("/metrics", {"x": "x" * 15_900}, 200),
        ("/metrics", {f"x{number}": "x" * 190 for number in range(90)}, 431),
        ("/metrics", {"x": "x" * 200_000}, 431),
    ],
    ids=["query", "path", "longest", "largest header", "headers", "huge header"],
)
def test_a_request_has_a_size(
    site: Served, target: str, headers: dict[str, str], status: int
) -> None:
    """Each limit has its own status, whether the header comes in one piece or in many."""
    bare = {"accept": "*/*", "user-agent": "x", **headers}
    try:
        assert site.ask(target, headers=bare).status_code == status
    except (httpx.WriteError, httpx.ReadError):
        # The server has closed while the rest of it was still being sent.
        assert len(headers.get("x", "")) > 100_000


def test_unready_says_why_a_reason_a_line() -> None:
    """Whatever an error's text holds; a restart would not help, so it is still healthy."""
    reasons = ("The ledger cannot be written: disk\r\n full", "The first scan is not complete")
    with serving(not_ready=lambda: reasons) as served:
        answer = served.ask("/-/ready")
        assert answer.status_code == 503
        assert answer.text == (
            "The ledger cannot be written: disk full\nThe first scan is not complete\n"
        )
        assert served.ask("/-/healthy").text == "Healthy\n"


def test_an_error_tells_the_log_and_not_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """What failed is nobody's business out there; the next request is answered."""

    async def fails() -> dict[str, Any]:
        raise RuntimeError("the secret inside")

    with caplog.at_level(logging.ERROR), serving(status=fails) as served:
        failed = served.ask("/")
        assert (failed.status_code, failed.text) == (500, "Internal Server Error")
        assert failed.headers["x-content-type-options"] == "nosniff"
        assert served.ask().status_code == 200
    assert "the secret inside" in caplog.text


def test_a_crowd_of_scrapers_is_not_a_crowd_of_renderings() -> None:
    """Whoever asks at the same time is given the same text; a later request sees what is later."""
    scrapes = 0

    def source() -> Iterator[Sample]:
        nonlocal scrapes
        scrapes += 1
        yield Sample(TRACES_PENDING, (), scrapes)

    with serving(metrics=make_metrics(source)) as served, ExitStack() as stack:
        clients = [stack.enter_context(Client(served)) for _ in range(50)]
        # The loop does not run until all of them have asked.
        asked = threading.Event()
        served.call(asked.wait)
        for client in clients:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        asked.set()
        for client in clients:
            assert b"conduit_exporter_traces_pending" in client.rest()
        assert scrapes < 10
        before = scrapes
        assert f"conduit_exporter_traces_pending {before + 1}.0" in served.ask("/metrics").text


def test_health_is_answered_while_a_scrape_is_being_written() -> None:
    """With a thousand agents that takes a second, in which nothing else may stand still."""
    answered = threading.Event()

    def source() -> Iterator[Sample]:
        answered.wait(LIMIT_S)
        yield Sample(TRACES_PENDING, (), 7)

    with serving(metrics=make_metrics(source)) as served, Client(served) as scraper:
        scraper.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert served.ask("/-/healthy").status_code == 200
        answered.set()
        assert b"\nconduit_exporter_traces_pending 7.0\n" in scraper.rest()


def test_a_scrape_opens_no_file_but_those_of_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs does not hang a scrape."""
    opened: list[str] = []
    real = open

    def watched(file: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(file))
        return real(file, *args, **kwargs)

    with serving() as served, Client(served) as client:
        monkeypatch.setattr("builtins.open", watched)
        monkeypatch.setattr("io.open", watched)
        client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"process_max_fds" in client.rest()
        monkeypatch.undo()
    assert opened
    assert all(name.startswith("/proc/") for name in opened)
