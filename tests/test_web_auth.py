"""Passwords: who is let in, what an attempt costs, and that every path asks."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import httpx
import pytest

from tests.web_support import (
    HASHED,
    HASHED_ANOTHER,
    PASSWORD,
    Served,
    basic,
    serving,
    web_config_file,
)

USERS = f"basic_auth_users: {{alice: {HASHED}, bob: {HASHED_ANOTHER}}}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server that knows two users."""
    with serving(config_file=web_config_file(tmp_path, USERS)) as server:
        yield server


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> "Checks":
    """Every check of a password from now on."""
    return Checks(monkeypatch)


class Checks:
    """Counts the checks, and can hold them back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self._real = bcrypt.checkpw
        monkeypatch.setattr(bcrypt, "checkpw", self)

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.count += 1
        self.begun.set()
        assert self.released.wait(20)
        return self._real(password, hashed)


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (basic("alice", PASSWORD)["authorization"], 200),
        (basic("bob", "another")["authorization"], 200),
        (basic("alice", PASSWORD)["authorization"].replace("Basic ", "bAsIc   "), 200),
        (basic("alice", "another")["authorization"], 401),
        (basic("alice", "")["authorization"], 401),
        (basic("carol", PASSWORD)["authorization"], 401),
        (basic("", "")["authorization"], 401),
        (basic("alice", f"{PASSWORD}\0")["authorization"], 401),
        (basic("alice", "x" * 5000)["authorization"], 401),
        ("", 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        (f"Basic {encoded(b'alice')}", 401),
        (f"Basic {encoded(bytes([255]) + b':x')}", 401),
        (f"Bearer {encoded(b'alice:x')}", 401),
    ],
)
def test_who_is_let_in(served: Served, header: str, status: int) -> None:
    """Only a user with the right password, and no odd header is an error."""
    assert served.ask(headers={"authorization": header}).status_code == status


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nothing"])
def test_every_path_asks_for_the_password(served: Served, path: str) -> None:
    """Health and what does not exist included, as in the toolkit."""
    without = served.ask(path)
    assert (without.status_code, without.text) == (401, "Unauthorized\n")
    assert without.headers["www-authenticate"].startswith("Basic realm=")
    right = served.ask(path, headers=basic("alice", PASSWORD))
    assert right.status_code == (404 if path == "/nothing" else 200)


def test_an_accepted_password_is_checked_once(served: Served, checks: Checks) -> None:
    """A scraper comes every few seconds, and a check is dear; a wrong one is checked each time."""
    for _ in range(3):
        assert served.ask(headers=basic("alice", PASSWORD)).status_code == 200
    assert checks.count == 1
    assert served.ask(headers=basic("alice", "x")).status_code == 401
    assert checks.count == 2


def test_an_unknown_user_costs_a_check(served: Served, checks: Checks) -> None:
    """The time of an answer does not tell who exists."""
    served.ask(headers=basic("carol", "x"))
    assert checks.count == 1


def test_a_flood_of_guesses_keeps_no_scraper_out(served: Served, checks: Checks) -> None:
    """A few wait for their turn, one is checked at a time, the known are let in at once."""
    served.ask(headers=basic("alice", PASSWORD))
    checks.begun.clear()
    checks.released.clear()

    def guess(number: int) -> httpx.Response:
        return served.ask(headers=basic("alice", str(number)))

    with ThreadPoolExecutor(20) as pool:
        guesses = [pool.submit(guess, number) for number in range(20)]
        assert checks.begun.wait(20)
        assert served.ask("/metrics", headers=basic("alice", PASSWORD)).status_code == 200
        served.wait_for(lambda: sum(one.done() for one in guesses) == 12)
        assert checks.count == 2
        checks.released.set()
        answers = [one.result() for one in guesses]
    busy = [one for one in answers if one.status_code == 503]
    assert len(busy) == 12
    assert {one.headers["retry-after"] for one in busy} == {"1"}
    assert sum(one.status_code == 401 for one in answers) == 8
