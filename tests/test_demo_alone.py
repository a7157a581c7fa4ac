"""`python -m exporter.demo`: the simulated Conduit as a program of its own."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from exporter.demo.__main__ import main
from exporter.demo.scenario import DEMO_TOKEN
from tests.real.processes import Process, loopback_client

LINE = re.compile(r"Simulated Conduit at (http://127\.0\.0\.1:\d+), token (\S+)\n")


@contextmanager
def started(log: Path, *options: str) -> Iterator[tuple[Process, str]]:
    """The program on a free port, and its URL."""
    argv = [sys.executable, "-W", "error", "-m", "exporter.demo", "--listen", "127.0.0.1:0"]
    with Process([*argv, *options], log=log, cwd=Path(__file__).parent.parent) as process:
        found = LINE.search(process.wait_log("token"))
        assert found is not None, process.log_text()
        assert found[2] == DEMO_TOKEN
        yield process, found[1]


def get(url: str, path: str) -> httpx.Response:
    with loopback_client(url) as client:
        return client.get(path, headers={"Authorization": f"Bearer {DEMO_TOKEN}"})


def test_it_serves_the_hotel_and_ends_when_told(tmp_path: Path) -> None:
    """One line tells where and with which token; SIGTERM ends it with 0 and nothing more to say."""
    with started(tmp_path / "demo.log") as (process, url):
        workspaces = get(url, "/v1/workspaces").json()["data"]
        assert [one["name"] for one in workspaces] == ["Harbor Hotels", "Alpine Lodges"]
        agents = get(url, f"/v1/agents?workspace_id={workspaces[0]['id']}").json()["data"]
        runs = get(url, f"/v1/agents/{agents[0]['id']}/runs").json()
        assert len(runs["data"]) == 20
        assert runs["has_more"] is True
        assert process.stop() == 0
        assert LINE.fullmatch(process.log_text())


def test_ctrl_c_ends_it_too(tmp_path: Path) -> None:
    """SIGINT is no error and leaves no traceback."""
    with started(tmp_path / "demo.log") as (process, _):
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert LINE.fullmatch(process.log_text())


def test_options_shape_the_simulation(tmp_path: Path) -> None:
    """The seed decides the ids, the history the rows, the limit the 429."""
    options = ("--history", "0", "--rate", "0.001", "--requests-per-minute", "2", "--seed")
    with (
        started(tmp_path / "one.log", *options, "7") as (_, one),
        started(tmp_path / "two.log", *options, "7") as (_, two),
        started(tmp_path / "other.log", *options, "8") as (_, other),
    ):
        first = get(one, "/v1/workspaces").json()
        assert get(two, "/v1/workspaces").json() == first
        assert get(other, "/v1/workspaces").json() != first
        path = f"/v1/agents?workspace_id={first['data'][0]['id']}"
        agent = get(one, path).json()["data"][0]["id"]
        assert get(one, f"/v1/agents/{agent}/runs").json()["data"] == []
        assert get(one, f"/v1/agents/{agent}/runs").status_code == 429


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "nowhere"], "'nowhere' is not host:port"),
        (["--listen", "127.0.0.1:99999"], "'127.0.0.1:99999' is not host:port"),
        (["--rate", "0"], "0.0 is not in the range"),
        (["--requests-per-minute", "0"], "0 is not in the range"),
        (["--history", "-1"], "-1.0 is not in the range"),
    ],
)
def test_bad_options_are_refused(options: list[str], message: str) -> None:
    """Exit code 2 and the reason."""
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_taken_address_is_said_so() -> None:
    """Exit code 1 and a line, no traceback."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["--listen", address])
    assert result.exit_code == 1
    assert result.output == f"Error: cannot listen on {address}: {os.strerror(98)}\n"
