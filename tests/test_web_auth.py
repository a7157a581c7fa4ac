"""Passwords: who is let in, what an attempt costs, and that every path asks."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.web.auth import BasicAuth, Verdict
from exporter.web.config_file import WebConfigFile
from tests.fakes import FakeClock, inline
from tests.web_support import (
    HASHED,
    HASHED_ANOTHER,
    PASSWORD,
    Answer,
    ask,
    running,
    web_config_file,
)

USERS = {"alice": HASHED, "bob": HASHED_ANOTHER}
WEB_YML = f"basic_auth_users:\n  alice: {HASHED}\n"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Counting:
    """An executor that counts the checks and can hold them back."""

    def __init__(self, *, held: bool = False) -> None:
        self.checks = 0
        self.released = asyncio.Event()
        if not held:
            self.released.set()

    def __call__(self, call: Callable[[], Any], /) -> Awaitable[Any]:
        return self._run(call)

    async def _run(self, call: Callable[[], Any]) -> Any:
        self.checks += 1
        await self.released.wait()
        return call()


def judge(*headers: str, users: dict[str, str] | None = None) -> tuple[list[Verdict], int]:
    """The verdicts on these headers, one after the other, and how many checks they took."""

    async def scenario() -> tuple[list[Verdict], int]:
        executor = Counting()
        auth = BasicAuth(executor=executor)
        verdicts = [await auth.judge(header, users or USERS) for header in headers]
        return verdicts, executor.checks

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (basic("alice", PASSWORD), Verdict.ACCEPTED),
        (basic("bob", "another"), Verdict.ACCEPTED),
        (basic("alice", PASSWORD).replace("Basic ", "bAsIc   "), Verdict.ACCEPTED),
        (basic("alice", "another"), Verdict.DENIED),
        (basic("alice", ""), Verdict.DENIED),
        (basic("carol", PASSWORD), Verdict.DENIED),
        (basic("", ""), Verdict.DENIED),
        (basic("alice", f"{PASSWORD}\0"), Verdict.DENIED),
        (basic("alice", "x" * 5000), Verdict.DENIED),
        ("", Verdict.DENIED),
        ("Basic", Verdict.DENIED),
        ("Basic !!!", Verdict.DENIED),
        ("Basic " + base64.b64encode(b"alice").decode(), Verdict.DENIED),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), Verdict.DENIED),
        ("Bearer abc", Verdict.DENIED),
    ],
)
def test_who_is_let_in(header: str, verdict: Verdict) -> None:
    """Only a user with the right password, and no odd header is an error."""
    assert judge(header)[0] == [verdict]


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_password_is_checked_once(password: str) -> None:
    """A scraper comes every few seconds, and a check is dear."""
    verdicts, checks = judge(*[basic("alice", password)] * 5)
    assert len(set(verdicts)) == 1
    assert checks == 1


def test_an_unknown_user_costs_a_check() -> None:
    """The time of an answer does not tell who exists."""
    assert judge(basic("carol", "x"))[1] == 1


def test_a_user_without_a_known_hash_costs_a_check() -> None:
    """Even where there is no hash to take the cost from."""

    async def scenario() -> tuple[Verdict, int]:
        executor = Counting()
        return await BasicAuth(executor=executor).judge(basic("x", "y"), {}), executor.checks

    assert asyncio.run(scenario()) == (Verdict.DENIED, 1)


def test_a_changed_hash_is_checked_anew() -> None:
    """An old password opens nothing once it was changed."""

    async def scenario() -> list[Verdict]:
        auth = BasicAuth(executor=inline)
        header = basic("alice", PASSWORD)
        users = ({"alice": HASHED}, {"alice": HASHED_ANOTHER}, {"bob": HASHED}, {"alice": HASHED})
        return [await auth.judge(header, one) for one in users]

    accepted, denied = Verdict.ACCEPTED, Verdict.DENIED
    assert asyncio.run(scenario()) == [accepted, denied, denied, accepted]


def test_a_flood_of_guesses_is_told_to_come_again() -> None:
    """A few wait for their turn, one is checked at a time, the known are let in at once."""

    async def scenario() -> tuple[list[Verdict], Verdict, int]:
        executor = Counting()
        auth = BasicAuth(executor=executor)
        await auth.judge(basic("alice", PASSWORD), USERS)
        executor.released.clear()
        guesses = [
            asyncio.create_task(auth.judge(basic("alice", str(number)), USERS))
            for number in range(20)
        ]
        done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        known = await auth.judge(basic("alice", PASSWORD), USERS)
        under_way = executor.checks - 1
        executor.released.set()
        assert {one.result() for one in done} == {Verdict.BUSY}
        return list(await asyncio.gather(*guesses)), known, under_way

    verdicts, known, under_way = asyncio.run(scenario())
    assert known is Verdict.ACCEPTED
    assert under_way == 1
    assert verdicts.count(Verdict.BUSY) == 12
    assert verdicts.count(Verdict.DENIED) == 8


def test_equal_guesses_are_one_check() -> None:
    """Those that waited find the verdict of the first."""

    async def scenario() -> int:
        executor = Counting(held=True)
        auth = BasicAuth(executor=executor)
        tasks = [asyncio.create_task(auth.judge(basic("alice", "x"), USERS)) for _ in range(8)]
        await asyncio.wait(tasks, timeout=0)
        executor.released.set()
        await asyncio.gather(*tasks)
        return executor.checks

    assert asyncio.run(scenario()) == 1


def test_verdicts_do_not_pile_up() -> None:
    """However many passwords are tried, what is remembered is bounded."""

    async def scenario() -> int:
        auth = BasicAuth(executor=inline)
        for number in range(300):
            await auth.judge(basic("alice", str(number)), USERS)
        return len(auth._denied)

    assert asyncio.run(scenario()) == 256


def test_no_password_is_kept() -> None:
    """Neither as it is nor in a digest that could be tried elsewhere."""

    async def scenario() -> str:
        auth = BasicAuth(executor=inline)
        await auth.judge(basic("alice", PASSWORD), USERS)
        return repr(vars(auth))

    kept = asyncio.run(scenario())
    assert PASSWORD not in kept
    assert "alice" not in kept


def answers(config_file: WebConfigFile, *requests: tuple[str, str], **parts: Any) -> list[Answer]:
    """The answers to requests for a path with an Authorization header, in turn."""

    async def scenario() -> list[Answer]:
        async with running(config_file=config_file, **parts) as server:
            return [
                await ask(server, path, **({"authorization": header} if header else {}))
                for path, header in requests
            ]

    return asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nothing"])
def test_every_path_asks_for_the_password(tmp_path: Path, path: str) -> None:
    """Health and what does not exist included, as in the toolkit."""
    config_file = web_config_file(tmp_path, WEB_YML)
    without, wrong, right = answers(
        config_file, (path, ""), (path, basic("alice", "x")), (path, basic("alice", PASSWORD))
    )
    assert (without.status, wrong.status) == (401, 401)
    assert without.headers["www-authenticate"].startswith("Basic realm=")
    assert (without.text, wrong.text) == ("Unauthorized\n", "Unauthorized\n")
    assert right.status == (404 if path == "/nothing" else 200)


def test_too_many_guesses_are_a_503(tmp_path: Path) -> None:
    """With the time after which it is worth coming again."""

    async def scenario() -> list[Answer]:
        config_file = web_config_file(tmp_path, WEB_YML)
        executor = Counting(held=True)
        async with running(config_file=config_file, executor=executor) as server:
            tasks = [
                asyncio.create_task(ask(server, authorization=basic("alice", str(number))))
                for number in range(9)
            ]
            (first,), _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            executor.released.set()
            await asyncio.gather(*tasks)
            return [await first]

    (busy,) = asyncio.run(scenario())
    assert (busy.status, busy.headers["retry-after"]) == (503, "1")


def test_a_rate_limit_is_kept(tmp_path: Path) -> None:
    """So many at once, then one each interval; a changed limit begins anew."""
    clock = FakeClock()
    config_file = web_config_file(tmp_path, "rate_limit: {interval: 1500ms, burst: 2}", clock=clock)

    async def scenario() -> list[Answer]:
        async with running(config_file=config_file, clock=clock) as server:
            found = [await ask(server) for _ in range(3)]
            clock.advance(1.5)
            found += [await ask(server) for _ in range(2)]
            clock.advance(100)
            found += [await ask(server) for _ in range(3)]
            (tmp_path / "web.yml").write_text("rate_limit: {interval: 1h, burst: 1}")
            clock.advance(1)
            found += [await ask(server) for _ in range(2)]
            (tmp_path / "web.yml").write_text("{}")
            clock.advance(1)
            return [*found, await ask(server)]

    found = asyncio.run(scenario())
    assert [one.status for one in found] == [200, 200, 429, 200, 429, 200, 200, 429, 200, 429, 200]
    assert found[2].headers["retry-after"] == "2"
    assert found[2].text == "Too Many Requests\n"


def test_headers_of_the_file_stand_above_ours(tmp_path: Path) -> None:
    """On every answer, refusals included."""
    text = f"""
http_server_config:
  headers:
    Strict-Transport-Security: max-age=1
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: sameorigin
{WEB_YML}"""
    config_file = web_config_file(tmp_path, text)
    for answer in answers(config_file, ("/", ""), ("/", basic("alice", PASSWORD))):
        assert answer.headers["strict-transport-security"] == "max-age=1"
        assert answer.headers["content-security-policy"] == "default-src 'self'"
        assert answer.headers["x-frame-options"] == "sameorigin"
        assert answer.headers["x-content-type-options"] == "nosniff"
