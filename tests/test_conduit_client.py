"""What the client asks for, and what it reads; over a scripted transport."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit import parsing
from exporter.errors import (
    ConfigError,
    SourceMalformed,
    SourceRejected,
)
from exporter.models import Agent, Page, RunDetail, Unreadable, Workspace
from tests.conduit_support import (
    AGENT,
    RUN,
    TOKEN,
    WORKSPACE,
    Call,
    as_json,
    converse,
    documented_run,
    json_answer,
    page_of,
    run_call,
)


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (lambda c: c.workspaces_page(), "workspaces?limit=100"),
        (lambda c: c.workspaces_page(cursor="a+b/="), "workspaces?limit=100&cursor=a%2Bb%2F%3D"),
        (lambda c: c.agents_page("ws1"), "agents?limit=100&workspace_id=ws1"),
        (
            lambda c: c.agents_page("ws1", cursor="c"),
            "agents?limit=100&workspace_id=ws1&cursor=c",
        ),
        (
            lambda c: c.runs_page(workspace_id="ws1", agent_id="ag1", limit=20),
            "agents/ag1/runs?limit=20&workspace_id=ws1",
        ),
        (
            lambda c: c.runs_page(workspace_id="w&x", agent_id="ag1", cursor="c", status="running"),
            "agents/ag1/runs?limit=100&workspace_id=w%26x&status=running&cursor=c",
        ),
    ],
)
def test_a_page_is_asked_for_by_its_documented_path(call: Call, target: str) -> None:
    """One request, with the largest pages the API gives."""
    talk = converse(json_answer(page_of()))
    assert asyncio.run(call(talk.client)) == Page((), (), None)
    assert [one.url.raw_path.decode() for one in talk.requests] == [f"/v1/{target}"]


def test_the_request_says_who_asks_and_what_is_understood() -> None:
    """Exactly these headers, and no cookie or body."""
    talk = converse(json_answer(page_of()), base_url="https://api.conduit.test:8443/")
    asyncio.run(talk.client.workspaces_page())
    (request,) = talk.requests
    assert request.method == "GET"
    assert dict(request.headers) == {
        "host": "api.conduit.test:8443",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "conduit-exporter/0.1.0",
        "authorization": f"Bearer {TOKEN}",
    }
    assert request.extensions["timeout"] == {
        "connect": 10.0,
        "read": 30.0,
        "write": 30.0,
        "pool": 30.0,
    }


def test_a_base_url_may_have_a_path() -> None:
    """A gateway may serve Conduit below one."""
    talk = converse(json_answer(page_of()), base_url="http://gateway.test/conduit/")
    asyncio.run(talk.client.workspaces_page())
    assert str(talk.requests[0].url) == "http://gateway.test/conduit/v1/workspaces?limit=100"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.conduit.ai",
        "ftp://a.test",
        "https://",
        "http://a:port",
        "http://a:b@c.test",
        "http://a?b",
    ],
)
def test_an_unusable_base_url_is_a_setting_at_fault(base_url: str) -> None:
    """It is found before the first request, and its password not repeated."""
    with pytest.raises(ConfigError) as caught:
        converse(base_url=base_url)
    assert "a:b" not in str(caught.value)


def test_workspaces_and_agents_are_read() -> None:
    """The rows, and the way on."""
    talk = converse(
        json_answer(page_of({"id": "ws1", "name": "Hotel"}, next_cursor="c2")),
        json_answer(page_of({"id": "ag1", "workspace_id": "ws1", "name": "Concierge"}, None)),
    )
    assert asyncio.run(talk.client.workspaces_page()) == Page(
        (Workspace("ws1", "Hotel"),), (), "c2"
    )
    agents = asyncio.run(talk.client.agents_page("ws1"))
    assert agents.rows == (Agent("ag1", "ws1", "Concierge"),)
    assert len(agents.unreadable) == 1


@pytest.mark.parametrize("wrap", [lambda row: row, lambda row: {"data": row}])
def test_an_agent_is_read_with_or_without_a_wrapper(wrap: Callable[[Any], Any]) -> None:
    """The page of this endpoint is not as explicit as that of get-run."""
    row = {"id": "ag1", "workspace_id": "ws1", "name": "Concierge"}
    talk = converse(json_answer(wrap(row)))
    assert asyncio.run(talk.client.agent("ag1")) == Agent("ag1", "ws1", "Concierge")
    assert talk.requests[0].url.path == "/v1/agents/ag1"


def test_an_agent_without_its_ids_is_malformed() -> None:
    """Its workspace cannot be guessed."""
    talk = converse(json_answer({"data": {"id": "ag1"}}))
    with pytest.raises(SourceMalformed, match="no agent"):
        asyncio.run(talk.client.agent("ag1"))


def test_the_documented_run_is_fetched_with_one_request() -> None:
    """By the field `id`, with the workspace named."""
    talk = converse(json_answer({"data": documented_run()}))
    detail = asyncio.run(run_call(talk.client))
    assert isinstance(detail, RunDetail)
    assert (detail.run.id, len(detail.tool_trace)) == (RUN, 1)
    assert [one.url.raw_path.decode() for one in talk.requests] == [
        f"/v1/agents/{AGENT}/runs/{RUN}?workspace_id={WORKSPACE}"
    ]


def test_a_run_may_be_asked_for_by_its_backend_id() -> None:
    """Should the API resolve it, the answer is the run that was meant."""
    talk = converse(json_answer({"data": documented_run()}))
    call = talk.client.run(workspace_id=WORKSPACE, agent_id=AGENT, run_id="run_9f3a1c7e")
    detail = asyncio.run(call)
    assert isinstance(detail, RunDetail)
    assert detail.run.id == RUN


@pytest.mark.parametrize("over", [{}, {"total_cost": -1}])
def test_another_run_than_asked_for_is_malformed(over: dict[str, Any]) -> None:
    """A cache in between must not put one run's trace under another's name."""
    talk = converse(json_answer({"data": documented_run() | {"id": "ar_other"} | over}))
    with pytest.raises(SourceMalformed, match="another run"):
        asyncio.run(run_call(talk.client))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (as_json({"data": documented_run() | {"total_cost": -1}}), parsing.BAD_COST),
        (as_json({"data": {}}), parsing.BAD_STATUS),
        (
            as_json({"data": documented_run() | {"tool_trace": "@"}}).replace(
                b'"@"', b"[" * 200 + b"]" * 200
            ),
            parsing.TOO_DEEP,
        ),
    ],
)
def test_a_run_at_fault_is_unreadable(body: bytes, reason: str) -> None:
    """The answer came as it should; asking again would change nothing."""
    talk = converse(httpx.Response(200, content=body))
    detail = asyncio.run(run_call(talk.client))
    assert isinstance(detail, Unreadable)
    assert (detail.run_id, detail.reason) == (RUN, reason)


hostile_ids = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["../ws", "a/../../b", "%2e%2e", "a?b=c", "a#b", "a\\b", "a\r\nHost: x", "//evil.test", "@evil"]
)


@given(hostile_ids, hostile_ids, hostile_ids)
def test_no_id_alters_the_path(workspace_id: str, agent_id: str, run_id: str) -> None:
    """Whatever it holds, it stays one segment of the path or one value of the query."""
    talk = converse(json_answer({"data": documented_run() | {"id": run_id}}))
    call = talk.client.run(workspace_id=workspace_id, agent_id=agent_id, run_id=run_id)
    try:
        asyncio.run(call)
    except SourceRejected:
        assert None in (parsing.parse_id(agent_id), parsing.parse_id(run_id))
        assert talk.requests == []
        return
    (request,) = talk.requests
    assert request.url.host == "api.conduit.test"
    path, _, query = request.url.raw_path.decode().partition("?")
    assert path.count("/") == 5
    assert [name for name, _ in httpx.QueryParams(query).multi_items()] == ["workspace_id"]
    assert dict(httpx.QueryParams(query)) == {"workspace_id": workspace_id}


@pytest.mark.parametrize("bad", ["", ".", "..", " "])
def test_what_cannot_be_an_id_costs_no_request(bad: str) -> None:
    """A step up the path would ask for something else."""
    talk = converse()
    with pytest.raises(SourceRejected):
        asyncio.run(talk.client.agent(bad))
    assert (talk.requests, talk.observed) == ([], [])
