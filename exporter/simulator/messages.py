"""Requests as the simulated Conduit reads them, and answers as it writes them.

The shapes are those of Conduit's documentation; nothing in here decides what is answered.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from exporter.simulator.runs import SimRun

JSON_TYPE: Final = {"content-type": "application/json; charset=utf-8"}


class Endpoint(StrEnum):
    """The five documented endpoints."""

    WORKSPACES = "workspaces"
    AGENTS = "agents"
    AGENT = "agent"
    RUNS = "runs"
    RUN = "run"


class Failure(Enum):
    """How an exchange goes wrong below HTTP."""

    CONNECT_ERROR = "the connection is refused, or the name is not known"
    READ_TIMEOUT = "the answer never comes"
    DISCONNECT = "the connection closes before the answer, or its rest after the body given"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRequest:
    """A request as it was understood; parts that it does not have are None."""

    now_ns: int
    method: str
    path: str
    endpoint: Endpoint | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    agent_id: str | None = None
    run_id: str | None = None

    @property
    def cursor(self) -> str | None:
        return self.query.get("cursor")


class Page(NamedTuple):
    """A list page in parts: rows as JSON, the way on, and a cursor that leads to this page.

    `has_more` None says the same as `next_cursor` does.
    """

    rows: Sequence[bytes]
    next_cursor: str | None
    own_cursor: str
    has_more: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimResponse:
    """An answer, or as much of it as gets through.

    `page` and `run` are what the body was made of; a fault that spoils the answer takes them away.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_TYPE)
    body: bytes = b""
    failure: Failure | None = None
    page: Page | None = None
    run: SimRun | None = None


def error_response(status: int, message: str, *, retry_after: str | None = None) -> SimResponse:
    """The documented error body, with Retry-After where it is given."""
    headers = JSON_TYPE if retry_after is None else {**JSON_TYPE, "retry-after": retry_after}
    body = json.dumps({"error": message}).encode()
    return SimResponse(status=status, headers=headers, body=body)


def page_response(page: Page) -> SimResponse:
    """A list page."""
    has_more = page.next_cursor is not None if page.has_more is None else page.has_more
    body = b'{"data":[%s],"next_cursor":%s,"has_more":%s}' % (
        b",".join(page.rows),
        json.dumps(page.next_cursor).encode(),
        json.dumps(has_more).encode(),
    )
    return SimResponse(body=body, page=page)


def object_response(row: bytes, *, run: SimRun | None = None) -> SimResponse:
    """One thing under `data`."""
    return SimResponse(body=b'{"data":%s}' % row, run=run)
