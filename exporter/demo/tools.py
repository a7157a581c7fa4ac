"""Tool calls of the hotel agents, written down in the many shapes that an untyped item can have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from exporter.demo.answers import json_time
from exporter.demo.guests import Guest
from exporter.demo.runs import MS_NS, SimRun

Json = Any
Values = Callable[[Guest, Random], dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool is given, what it gives back, and how it fails."""

    takes: Values
    gives: Values
    failure: str = "upstream timed out"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a run's tool trace; times are None where the agent did not note them."""

    name: str
    failed: bool
    start_ns: int
    end_ns: int


# What a knowledge base gives back; a long one is well beyond what a span keeps.
_CHUNK: Final = "Breakfast 7:00-10:30 in the garden room. Crèche on request. "

TOOLS: Final[Mapping[str, Tool]] = {
    "get_reservation": Tool(
        lambda guest, _rng: {"reservation_id": guest.booking},
        lambda guest, _rng: {"status": "confirmed", "guest": guest.name, "room": guest.room},
        "reservation not found",
    ),
    "check_availability": Tool(
        lambda _guest, rng: {"from": "2026-04-05", "nights": rng.randrange(1, 9)},
        lambda _guest, rng: {"rooms": rng.randrange(12), "from_price": f"{rng.randrange(90, 400)}"},
    ),
    "update_reservation": Tool(
        lambda guest, _rng: {"reservation_id": guest.booking, "late_checkout": True},
        lambda guest, _rng: {"ok": True, "notified": guest.email},
        "the booking is locked by the front desk",
    ),
    "send_message": Tool(
        lambda guest, _rng: {"to": guest.phone, "text": f"Dear {guest.name}, ..."},
        lambda _guest, rng: {"message_id": f"msg_{rng.randrange(1 << 32):08x}"},
        "the channel rejected the message",
    ),
    "search_kb": Tool(
        lambda _guest, rng: {"query": rng.choice(("breakfast", "parking", "spa hours", "dogs"))},
        lambda _guest, rng: {
            "hits": [
                {"score": rng.randrange(100) / 100, "chunk": _CHUNK * rng.choice((1, 1, 1, 60))}
            ]
        },
    ),
    "create_ticket": Tool(
        lambda guest, rng: {"room": guest.room, "what": rng.choice(("towels", "leak", "heating"))},
        lambda _guest, rng: {"ticket": rng.randrange(10_000, 99_999), "queue": "housekeeping"},
    ),
    "assign_ticket": Tool(
        lambda _guest, rng: {"ticket": rng.randrange(10_000, 99_999)},
        lambda _guest, rng: {"assignee": rng.choice(("team-a", "team-b"))},
        "nobody is on shift",
    ),
    "issue_refund": Tool(
        lambda guest, rng: {"card": guest.card, "amount": rng.randrange(1000, 30_000) / 100},
        lambda _guest, _rng: {"state": "pending"},
        "card declined",
    ),
    "book_table": Tool(
        lambda guest, rng: {"name": guest.name, "people": rng.randrange(1, 8)},
        lambda _guest, rng: {"table": rng.randrange(1, 40)},
        "fully booked",
    ),
    "escalate_to_human": Tool(
        lambda guest, _rng: {"contact": guest.email, "summary": f"{guest.name} wants a person"},
        lambda _guest, _rng: {"queued": True},
    ),
    "query_occupancy": Tool(
        lambda _guest, _rng: {"window": "7d"},
        lambda _guest, rng: {"occupancy": rng.randrange(400, 990) / 1000},
    ),
    "write_report": Tool(
        lambda _guest, rng: {"sections": rng.randrange(2, 9)},
        lambda _guest, rng: {"bytes": rng.randrange(2_000, 90_000)},
    ),
}


def plan_calls(
    run: SimRun, names: Sequence[str], *, failed_ratio: float, rng: Random
) -> tuple[Call, ...]:
    """Calls of these tools one after the other inside the run; a failed run's last one fails."""
    end_ns = run.completed_ns or run.created_ns
    length_ns = end_ns - run.created_ns
    cuts = sorted([run.created_ns + int(rng.random() * length_ns) for _ in range(2 * len(names))])
    last = len(names) - 1
    return tuple(
        Call(
            name,
            (run.status == "failed" and at == last) or rng.random() < failed_ratio,
            cuts[2 * at] // MS_NS * MS_NS,
            cuts[2 * at + 1] // MS_NS * MS_NS,
        )
        for at, name in enumerate(names)
    )


def item_of(call: Call, guest: Guest, rng: Random) -> Json:
    """The call as an item; the documented shape is the commonest, the others all occur."""
    return rng.choices(_SHAPES, cum_weights=_SHAPE_MARKS)[0](call, guest, rng)


def _documented(call: Call, guest: Guest, rng: Random) -> Json:
    tool = TOOLS[call.name]
    output = {"error": tool.failure} if call.failed else tool.gives(guest, rng)
    item: dict[str, Json] = {"name": call.name, "input": tool.takes(guest, rng), "output": output}
    # The documentation gives no place for a failure; it is said beside the three known keys.
    if call.failed:
        item["status"] = "error"
    return item


def _timed(call: Call, guest: Guest, rng: Random) -> Json:
    return {
        **_documented(call, guest, rng),
        "started_at": _iso(call.start_ns),
        "completed_at": _iso(call.end_ns),
    }


def _with_duration(call: Call, guest: Guest, rng: Random) -> Json:
    tool = TOOLS[call.name]
    return {
        "tool": call.name,
        "arguments": tool.takes(guest, rng),
        "result": None if call.failed else tool.gives(guest, rng),
        "error": tool.failure if call.failed else None,
        "start_time": call.start_ns // MS_NS,
        "duration_ms": (call.end_ns - call.start_ns) // MS_NS,
    }


def _flagged(call: Call, guest: Guest, rng: Random) -> Json:
    tool = TOOLS[call.name]
    return {
        "id": f"call_{rng.randrange(1 << 48):012x}",
        "type": "tool_call",
        "tool_name": call.name,
        "args": tool.takes(guest, rng),
        "is_error": call.failed,
        "output": tool.failure if call.failed else tool.gives(guest, rng),
    }


def _as_function(call: Call, guest: Guest, rng: Random) -> Json:
    tool = TOOLS[call.name]
    return {
        "function": {"name": call.name, "arguments": str(tool.takes(guest, rng))},
        "success": not call.failed,
    }


def _bare(call: Call, guest: Guest, rng: Random) -> Json:
    # A name alone cannot say that it failed.
    return _documented(call, guest, rng) if call.failed else call.name


def _as_list(call: Call, guest: Guest, rng: Random) -> Json:
    # Neither can a list: the documented "name, input, output per step", without the names.
    tool = TOOLS[call.name]
    if call.failed:
        return _documented(call, guest, rng)
    return [call.name, tool.takes(guest, rng), tool.gives(guest, rng)]


_SHAPES: Final = (_documented, _timed, _with_duration, _flagged, _as_function, _bare, _as_list)
_SHAPE_MARKS: Final = (52, 72, 80, 90, 96, 98, 100)


def odd_item(guest: Guest, rng: Random) -> Json:
    """An item that names no tool and tells of no failure; the schema allows every one of them."""
    return rng.choice(_ODD_ITEMS)(guest, rng)


_ODD_ITEMS: Final[Sequence[Callable[[Guest, Random], Json]]] = (
    lambda guest, _rng: {"input": {"email": guest.email}, "output": {"found": 1}},
    lambda guest, _rng: {"name": None, "output": f"{guest.name}, room {guest.room}"},
    lambda _guest, _rng: {"name": "", "input": None, "output": None},
    lambda guest, _rng: f"I looked up {guest.name} first.",
    lambda guest, _rng: [[{"role": "tool", "phone": guest.phone}], []],
    lambda _guest, rng: {"step": {"step": {"step": [rng.randrange(9), None, True]}}},
    lambda _guest, rng: rng.randrange(1 << 60),
    lambda _guest, rng: rng.randrange(1000) / 1000,
    lambda _guest, _rng: False,
    lambda _guest, _rng: {},
    lambda _guest, _rng: [],
    lambda _guest, _rng: "",
)


def _iso(at_ns: int) -> str:
    return json_time(at_ns).strip('"')
