"""Faults to order: when they strike (`When`), and what they make of an answer (`Fault`).

A fault may ask for the truthful answer and spoil it, or never ask: what replaces the API's answer
before it is made, like a proxy's error page, uses up no rate limit.
"""

import functools
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from exporter.demo.answers import (
    Endpoint,
    Failure,
    Page,
    SimRequest,
    SimResponse,
    error_response,
    page_response,
)

Truthful = Callable[[], SimResponse]
Fault = Callable[[SimRequest, Truthful], SimResponse]
When = Callable[[SimRequest], bool]

_CHUNK: Final = 64 * 1024
_HTML: Final = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in</body>"
)


@dataclass(slots=True)
class _Rule:
    when: When
    fault: Fault
    left: int | None


class FaultPlan:
    """Faults in the order in which they were placed; the first that matches a request strikes."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self.struck = 0

    def place(self, fault: Fault, *, when: When, times: int | None = None) -> None:
        """Let a fault strike the requests for which `when` holds, at most `times` of them."""
        self._rules.append(_Rule(when, fault, times))

    def clear(self) -> None:
        """Take all faults away."""
        self._rules.clear()

    def pick(self, request: SimRequest) -> Fault | None:
        """The fault that strikes this request; using one up is part of picking it."""
        for rule in self._rules:
            if rule.left != 0 and rule.when(request):
                if rule.left is not None:
                    rule.left -= 1
                self.struck += 1
                return rule.fault
        return None


# When


def always(_request: SimRequest) -> bool:
    """Every request."""
    return True


def nth(number: int) -> When:
    """The request with this number, counted from 1 over all endpoints."""
    return lambda request: request.number == number


def to(*endpoints: Endpoint) -> When:
    """Requests to these endpoints."""
    return lambda request: request.endpoint in endpoints


def to_agent(agent_id: str) -> When:
    """Requests that name this agent in their path."""
    return lambda request: request.agent_id == agent_id


def of_run(run_id: str) -> When:
    """Get-runs of this run."""
    return lambda request: request.run_id == run_id


def later_pages(request: SimRequest) -> bool:
    """Requests with a cursor."""
    return request.cursor is not None


def between(start_ns: int, end_ns: int) -> When:
    """Requests from `start_ns` on, before `end_ns`."""
    return lambda request: start_ns <= request.now_ns < end_ns


def chance(probability: float, rng: random.Random) -> When:
    """A share of the requests."""
    return lambda _request: rng.random() < probability


def both(*conditions: When) -> When:
    """Requests for which all of these hold; later ones are not asked when an earlier fails."""
    return lambda request: all(when(request) for when in conditions)


# Instead of the answer


def rate_limited(retry_after: str | None = "1") -> Fault:
    """429 with this text as Retry-After, or without the header."""
    return lambda _request, _truthful: error_response(
        429, "Rate limit exceeded", retry_after=retry_after
    )


def refused(status: int, message: str = "Something went wrong") -> Fault:
    """An error of this status with the documented body: 5xx, 401, 403, 404, 410 ..."""
    return lambda _request, _truthful: error_response(status, message)


def html(status: int = 200) -> Fault:
    """A page for people, as a proxy or a login wall sends it."""
    response = SimResponse(status=status, headers={"content-type": "text/html"}, body=_HTML)
    return lambda _request, _truthful: response


def redirected(location: str = "https://login.example.com/", status: int = 302) -> Fault:
    """A redirect to somewhere else."""
    response = SimResponse(status=status, headers={"location": location})
    return lambda _request, _truthful: response


def failing(failure: Failure) -> Fault:
    """No HTTP answer at all; the request may still have been counted against the limit."""
    return lambda _request, truthful: _spoiled(truthful(), failure=failure, body=b"", stream=None)


def unreachable(_request: SimRequest, _truthful: Truthful) -> SimResponse:
    """Conduit is not there; nothing is counted against any limit."""
    return SimResponse(failure=Failure.CONNECT_ERROR)


def body_of(body: bytes, content_type: str = "application/json") -> Fault:
    """200 with exactly these bytes."""
    response = SimResponse(headers={"content-type": content_type}, body=body)
    return lambda _request, _truthful: response


def deeply_nested(depth: int = 100_000) -> Fault:
    """Valid JSON, nested beyond any parser's stack."""
    return body_of(b'{"data":' + b"[" * depth + b"]" * depth + b"}")


def huge_json(size: int = 1 << 30) -> Fault:
    """Valid JSON of this many bytes and a few, never held in memory."""

    def chunks() -> Iterator[bytes]:
        yield b'{"data":[],"next_cursor":null,"has_more":false,"padding":"'
        for _ in range(size // _CHUNK):
            yield b"x" * _CHUNK
        yield b"x" * (size % _CHUNK) + b'"}'

    response = SimResponse(stream=chunks)
    return lambda _request, _truthful: response


def gzip_bomb(size: int = 64 << 20) -> Fault:
    """A small gzip body that inflates to `size` bytes."""
    return lambda _request, _truthful: SimResponse(
        headers={"content-type": "application/json", "content-encoding": "gzip"},
        body=_bomb(size),
    )


# Made of the answer


def delayed(seconds: float) -> Fault:
    """The true answer, late."""
    return lambda _request, truthful: replace(truthful(), latency_s=seconds)


def truncated(keep: float = 0.5, failure: Failure = Failure.DISCONNECT) -> Fault:
    """The first part of the body, then nothing: a closed connection, or silence."""

    def fault(_request: SimRequest, truthful: Truthful) -> SimResponse:
        response = truthful()
        body = response.body[: int(len(response.body) * keep)]
        return _spoiled(response, body=body, failure=failure)

    return fault


def wrong_content_length(more: int) -> Fault:
    """A content-length that is `more` than the body has; negative for less."""

    def fault(_request: SimRequest, truthful: Truthful) -> SimResponse:
        response = truthful()
        length = str(max(0, len(response.body) + more))
        return _spoiled(response, headers={**response.headers, "content-length": length})

    return fault


def gzipped(_request: SimRequest, truthful: Truthful) -> SimResponse:
    """The true answer, compressed as it should be: no fault, but what a CDN does."""
    response = truthful()
    return replace(
        response,
        headers={**response.headers, "content-encoding": "gzip"},
        body=_gzip(response.body),
    )


def cursor_to_itself(_request: SimRequest, truthful: Truthful) -> SimResponse:
    """A page whose next_cursor leads to the same page."""
    return _repaged(truthful(), lambda page: page._replace(next_cursor=page.own_cursor))


def cursor_circle() -> Fault:
    """A list's second page leads back to its first, and that one to the second again."""
    first_pages: dict[str, str] = {}

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        def change(page: Page) -> Page:
            if request.cursor is None:
                first_pages[request.path] = page.own_cursor
            first = first_pages.get(request.path, page.own_cursor)
            return page if page.own_cursor == first else page._replace(next_cursor=first)

        return _repaged(truthful(), change)

    return fault


def empty_page(_request: SimRequest, truthful: Truthful) -> SimResponse:
    """No rows, but a next_cursor that leads to the rows that should have been here."""
    return _repaged(truthful(), lambda page: page._replace(rows=(), next_cursor=page.own_cursor))


def row_added(row: bytes, at: int = 0) -> Fault:
    """A page with something else among its rows: null, a number, a list ..."""

    def fault(_request: SimRequest, truthful: Truthful) -> SimResponse:
        return _repaged(
            truthful(), lambda page: page._replace(rows=(*page.rows[:at], row, *page.rows[at:]))
        )

    return fault


def _repaged(response: SimResponse, change: Callable[[Page], Page]) -> SimResponse:
    return response if response.page is None else page_response(change(response.page))


def _spoiled(response: SimResponse, **changes: Any) -> SimResponse:
    return replace(response, page=None, run=None, **changes)


@functools.cache
def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    parts = [packer.compress(b" " * _CHUNK) for _ in range(size // _CHUNK)]
    parts += [packer.compress(b" " * (size % _CHUNK)), packer.flush()]
    return b"".join(parts)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()
