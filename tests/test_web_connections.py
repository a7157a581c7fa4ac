"""The table of connections: who gets a place, and who gives one up."""

import asyncio

from exporter.web.connections import ConnectionTable, Slot


def entered(table: ConnectionTable, name: str, closed: list[str]) -> Slot:
    slot = table.enter(lambda: closed.append(name))
    assert slot is not None
    return slot


def test_the_one_that_waits_longest_gives_way() -> None:
    """It is closed at once, and its place is taken."""

    async def scenario() -> tuple[list[str], int]:
        closed: list[str] = []
        table = ConnectionTable(2)
        for name in ("one", "two", "three"):
            entered(table, name, closed)
        return closed, len(table)

    assert asyncio.run(scenario()) == (["one"], 2)


def test_the_busy_never_give_way() -> None:
    """There is no place while all are being answered."""

    async def scenario() -> tuple[Slot | None, list[str]]:
        closed: list[str] = []
        table = ConnectionTable(2)
        entered(table, "one", closed).work()
        entered(table, "two", closed).work()
        return table.enter(lambda: None), closed

    assert asyncio.run(scenario()) == (None, [])


def test_who_was_answered_waits_behind_the_others() -> None:
    """A scraper that keeps its connection outlives those that never asked."""

    async def scenario() -> list[str]:
        closed: list[str] = []
        table = ConnectionTable(2)
        first = entered(table, "asked", closed)
        entered(table, "silent", closed)
        first.work()
        first.rest()
        entered(table, "new", closed)
        return closed

    assert asyncio.run(scenario()) == ["silent"]


def test_leaving_twice_is_leaving_once() -> None:
    """Also after it had to give way, and resting then does not bring it back."""

    async def scenario() -> int:
        table = ConnectionTable(1)
        slot = entered(table, "one", [])
        slot.leave()
        slot.leave()
        slot.rest()
        return len(table)

    assert asyncio.run(scenario()) == 0


def test_an_empty_table_is_known_at_once() -> None:
    """From the start, after the last has left, and after all were closed."""

    async def scenario() -> tuple[bool, list[str]]:
        closed: list[str] = []
        table = ConnectionTable(4)
        await table.emptied()
        slot = entered(table, "one", closed)
        entered(table, "two", closed)
        waiting = asyncio.create_task(table.emptied())
        slot.leave()
        await asyncio.wait({waiting}, timeout=0)
        early = waiting.done()
        table.close_all()
        await waiting
        return early, closed

    assert asyncio.run(scenario()) == (False, ["two"])
