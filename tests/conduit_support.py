"""What tests of the Conduit client share: a documented run, a scripted client, servers."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import strategies as st

from exporter.conduit.client import ConduitClient, Endpoint
from exporter.conduit.models import RunDetail, Unreadable
from exporter.conduit.token import TokenSource
from tests.fakes import FakeClock

TOKEN = "tok_s3cr3t_9f81"
WORKSPACE = "j57demo8f8x7c9v0n2q4r6t8y1u3i5o"
AGENT = "ag77c0dy0mgdpzmqz6tesry8w184002s"
RUN = "ar77c0dy0mgdpzmqz6tesry8w184002s"


def page_of(*rows: Any, next_cursor: str | None = None) -> dict[str, Any]:
    """A list page as the API writes it."""
    return {"data": list(rows), "next_cursor": next_cursor, "has_more": next_cursor is not None}


@dataclass
class Conversation:
    """A client, what it sent, and what it reported."""

    client: ConduitClient
    requests: list[httpx.Request]
    observed: list[tuple[Endpoint, str, float]]


# Whatever JSON may say where Conduit's should stand, under keys that mean something.
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["2026-04-03T03:14:60Z", "NaN", "..", "\x00", "1e999999999", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "id", "next_cursor", "has_more", "status", "created_at", "input", "output"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def converse(
    *answers: Answer, base_url: str = "https://api.conduit.test", **over: Any
) -> Conversation:
    """A client whose requests are answered in this order."""
    waiting = list(answers)
    requests: list[httpx.Request] = []
    observed: list[tuple[Endpoint, str, float]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    settings: dict[str, Any] = {
        "base_url": base_url,
        "token": TokenSource(text=TOKEN),
        "transport": httpx.MockTransport(handle),
        "clock": FakeClock(),
        "observe": lambda *what: observed.append(what),
        **over,
    }
    return Conversation(ConduitClient(**settings), requests, observed)


Call = Callable[[ConduitClient], Coroutine[Any, Any, object]]


def run_call(client: ConduitClient) -> Coroutine[Any, Any, RunDetail | Unreadable]:
    """Ask for the documented run."""
    return client.run(workspace_id=WORKSPACE, agent_id=AGENT, run_id=RUN)


CALLS: dict[Endpoint, Call] = {
    Endpoint.WORKSPACES: lambda client: client.workspaces_page(),
    Endpoint.AGENTS: lambda client: client.agents_page(WORKSPACE),
    Endpoint.AGENT: lambda client: client.agent(AGENT),
    Endpoint.RUNS: lambda client: client.runs_page(workspace_id=WORKSPACE, agent_id=AGENT),
    Endpoint.RUN: run_call,
}


def json_answer(value: Any, status: int = 200, **headers: str) -> httpx.Response:
    """An answer with a JSON body."""
    return httpx.Response(status, json=value, headers=headers)


def as_json(value: Any) -> bytes:
    """A JSON body."""
    return json.dumps(value).encode()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections on loopback, at the URL that is given; leave none behind."""
    finished: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        finished.append(asyncio.current_task())
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):  # the client gave up
                await serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        listening.close()
        await listening.wait_closed()
        await asyncio.gather(*(task for task in finished if task is not None))


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP/1.1 answer with a correct length, unless `headers` name one."""
    named = any(one.lower().startswith(("content-length", "transfer-encoding")) for one in headers)
    lines = [
        f"HTTP/1.1 {status}",
        *headers,
        *([] if named else [f"Content-Length: {len(body)}"]),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
