"""Faults to order: which requests they strike (`When`), and what they make of an answer (`Fault`).

A fault stays until its times are used up or the plan is cleared: bound to one run, cursor, list,
agent or workspace it is one that sticks. A fault that never asks for the true answer, like a
proxy's error page, uses up no rate limit.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from exporter.simulator.conduit import (
    Endpoint,
    Page,
    SimRequest,
    SimResponse,
    error_response,
    page_response,
)

Truthful = Callable[[SimRequest], SimResponse]
Fault = Callable[[SimRequest, Truthful], SimResponse]
When = Callable[[SimRequest], bool]

_HTML: Final = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in</body>"
)
_EMPTY_CURSOR: Final = "empty."


class Failure(Enum):
    """How an exchange goes wrong below HTTP."""

    CONNECT_ERROR = "the connection is refused, or the name is not known"
    READ_TIMEOUT = "the answer never comes"
    DISCONNECT = "the connection closes before the answer, or its rest after the body given"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenResponse(SimResponse):
    """As much of an answer as gets through."""

    failure: Failure


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


def to(*endpoints: Endpoint) -> When:
    """Requests to these endpoints."""
    return lambda request: request.endpoint in endpoints


def of_agent(agent_id: str) -> When:
    """Requests that name this agent in their path."""
    return lambda request: request.agent_id == agent_id


def of_list(agent_id: str) -> When:
    """All pages of an agent's list of runs."""
    return both(to(Endpoint.RUNS), of_agent(agent_id))


def of_run(run_id: str) -> When:
    """Get-runs of this run."""
    return lambda request: request.run_id == run_id


def of_workspace(workspace_id: str) -> When:
    """Requests that name this workspace in their query."""
    return lambda request: request.query.get("workspace_id") == workspace_id


def later_pages(request: SimRequest) -> bool:
    """Requests with a cursor."""
    return request.cursor is not None


def first_cursor(when: When = later_pages) -> When:
    """Requests with the first cursor that is met where `when` holds; all others are spared."""
    found: list[str] = []

    def holds(request: SimRequest) -> bool:
        if request.cursor is None or not when(request):
            return False
        found[:] = found or [request.cursor]
        return request.cursor == found[0]

    return holds


class FirstRun:
    """Get-runs of the first run that is asked for where `when` holds; all others are spared."""

    def __init__(self, when: When = always) -> None:
        self._when = when
        self.run_id: str | None = None

    def __call__(self, request: SimRequest) -> bool:
        if self.run_id is None and self._when(request):
            self.run_id = request.run_id
        return request.run_id is not None and request.run_id == self.run_id


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


def refused(status: int, message: str = "Something went wrong") -> Fault:
    """An error of this status with the documented body."""
    return lambda _request, _truthful: error_response(status, message)


def rate_limited(retry_after: str | None = "1") -> Fault:
    """429 with this text as Retry-After, or without the header."""
    return lambda _request, _truthful: error_response(
        429, "Rate limit exceeded", retry_after=retry_after
    )


def body_of(body: bytes, content_type: str = "application/json", status: int = 200) -> Fault:
    """An answer with exactly these bytes."""
    response = SimResponse(status=status, headers={"content-type": content_type}, body=body)
    return lambda _request, _truthful: response


def html(status: int = 200) -> Fault:
    """A page for people, as a proxy or a login wall sends it."""
    return body_of(_HTML, "text/html", status)


def malformed() -> Fault:
    """JSON that breaks off."""
    return body_of(b'{"data":')


def redirected(location: str = "https://login.example.com/", status: int = 302) -> Fault:
    """A redirect to somewhere else."""
    response = SimResponse(status=status, headers={"location": location})
    return lambda _request, _truthful: response


def unreachable(_request: SimRequest, _truthful: Truthful) -> SimResponse:
    """Conduit is not there; nothing is counted against any limit."""
    return BrokenResponse(failure=Failure.CONNECT_ERROR)


def failing(failure: Failure) -> Fault:
    """No HTTP answer at all; the request may still have been counted against the limit."""
    return lambda request, truthful: _broken(truthful(request), failure, body=b"")


def hanging() -> Fault:
    """The request is read and never answered."""
    return failing(Failure.READ_TIMEOUT)


# Made of the answer


def truncated() -> Fault:
    """The first half of the body, then a closed connection."""

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        response = truthful(request)
        body = response.body[: len(response.body) // 2]
        return _broken(response, Failure.DISCONNECT, body=body)

    return fault


def cursor_to_itself(request: SimRequest, truthful: Truthful) -> SimResponse:
    """A page whose next_cursor leads to the same page."""
    return _repaged(truthful(request), lambda page: page._replace(next_cursor=page.own_cursor))


def cursor_circle() -> Fault:
    """A list's second page leads back to its first, and that one to the second again."""
    first_pages: dict[str, str] = {}

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        def change(page: Page) -> Page:
            if request.cursor is None:
                first_pages[request.path] = page.own_cursor
            first = first_pages.get(request.path, page.own_cursor)
            return page if page.own_cursor == first else page._replace(next_cursor=first)

        return _repaged(truthful(request), change)

    return fault


def ever_new_cursors() -> Fault:
    """A list's second page comes again and again, its cursor another text each time."""
    pages = itertools.count(2)
    second_pages: dict[str, str] = {}

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        second = second_pages.setdefault(request.path, request.cursor or "")
        repeated = replace(request, query={**request.query, "cursor": second})
        return _repaged(
            truthful(repeated), lambda page: page._replace(next_cursor=f"page {next(pages)}")
        )

    return fault


def empty_pages(count: int) -> Fault:
    """So many pages without a row, each with a cursor of its own, stand before every later page."""

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        cursor = request.cursor or ""
        shown, real = 0, cursor
        if cursor.startswith(_EMPTY_CURSOR):
            _, number, real = cursor.split(".", 2)
            shown = int(number)
        if not cursor or shown >= count:
            query = {key: value for key, value in request.query.items() if key != "cursor"}
            if real:
                query["cursor"] = real
            return truthful(replace(request, query=query))
        return page_response(Page((), f"{_EMPTY_CURSOR}{shown + 1}.{real}", cursor))

    return fault


def more_without_cursor(request: SimRequest, truthful: Truthful) -> SimResponse:
    """A page that says has_more and gives no cursor."""
    return _repaged(truthful(request), lambda page: page._replace(next_cursor=None, has_more=True))


def no_rows(request: SimRequest, truthful: Truthful) -> SimResponse:
    """A list without a row and without a next page."""
    return _repaged(truthful(request), lambda page: page._replace(rows=(), next_cursor=None))


def row_added(row: bytes, at: int = 0) -> Fault:
    """A page with something else among its rows: a run without an id, null, a number ..."""

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        return _repaged(
            truthful(request),
            lambda page: page._replace(rows=(*page.rows[:at], row, *page.rows[at:])),
        )

    return fault


def _repaged(response: SimResponse, change: Callable[[Page], Page]) -> SimResponse:
    if response.page is None:
        return response
    return replace(page_response(change(response.page)), headers=response.headers)


def _broken(response: SimResponse, failure: Failure, *, body: bytes) -> BrokenResponse:
    return BrokenResponse(
        status=response.status, headers=response.headers, body=body, failure=failure
    )
