"""A hotel group at work: two workspaces, five agents, what their runs say, and the token for them.

The same for the same seed and start. All is invented; replies, reasoning and most tool inputs and
outputs carry some of `PRIVATE_MARKS`, so that a leak can be seen. Addresses and numbers are
reserved ones that belong to nobody.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, NamedTuple

from exporter.simulator.data import Scenario, SimAgent, SimWorkspace
from exporter.simulator.generator import (
    FLAT_DAY,
    ContentWriter,
    GeneratedRuns,
    RunProfile,
    random_id,
)
from exporter.simulator.runs import MS_NS, SECOND_NS, RunContent, SimRun, json_time

DEMO_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulation

_TOOL_FAILURES: Final = 0.04
_NO_TOOL: Final = 0.07
_NULL_ITEM: Final = 0.08
_TIMED_ITEM: Final = 0.2
_UNNAMED_ITEM: Final = 0.02


class Guest(NamedTuple):
    """A guest and a stay."""

    name: str
    email: str
    phone: str
    card: str
    room: str
    booking: str


class Tool(NamedTuple):
    """What a tool is given, what it gives back, and how it fails."""

    takes: Callable[[Guest, Random], dict[str, Any]]
    gives: Callable[[Guest, Random], dict[str, Any]]
    failure: str = "upstream timed out"


def _guest(number: int, name: str) -> Guest:
    plain = name.split(maxsplit=1)[0].encode("ascii", "ignore").decode().lower()
    return Guest(
        name=name,
        email=f"{plain}.{number}@guest-mail.example",
        phone=f"+1 202 555 01{number:02d}",
        card=("4111 1111 1111 1111", "5555 5555 5555 4444", "3782 822463 10005")[number % 3],
        room=f"{number % 4 + 1}{number * 7 % 30 + 1:02d}",
        booking=f"res_{4100 + number * 37}",
    )


_NAMES: Final = (
    *("Amélie Dupont", "Jonas Keller", "Siobhán O'Connor", "María José Núñez", "Thomas Grüber"),
    *("Priya Raghavan", "Łukasz Wiśniewski", "Yuki Tanaka 田中", "Fatima Al-Sayed"),
    *("Grace Okafor", "Henrik Sørensen", "Chloé Lefèvre"),
)
GUESTS: Final = tuple(_guest(number, name) for number, name in enumerate(_NAMES))
PRIVATE_MARKS: Final = tuple(
    mark for guest in GUESTS for mark in (guest.name, guest.email, guest.phone, guest.card)
)

_REPLIES: Final = {
    "resolved": (
        "Hello {name}, your stay is confirmed: booking {booking}, room {room}. See you soon!",
        "Dear {name}, breakfast is served from 7 to 10:30. I have sent the menu to {email} 🥐",
        "Guten Tag {name}, Ihr Zimmer {room} ist ab 15 Uhr bereit. Wir rufen Sie unter {phone} an.",
        "Hola {name}, hemos añadido una cama supletoria a la reserva {booking}.\n¡Hasta pronto!",
        "{name} 様、ご予約 {booking} を承りました。お部屋は {room} です。",
        "مرحبا {name}، تم تأكيد الحجز {booking}. نراكم قريبا",
        "{name}, the refund to the card {card} is on its way; it takes three to five days.",
    ),
    "escalated": ("Thank you {name}, a colleague will get back to you at {phone} shortly.",),
    "escalation_and_answer": (
        "{name}, late check-out of room {room} is noted; a colleague confirms it to {email}.",
    ),
    "unresolved": ("I am sorry {name}, I could not find a booking for {email}.",),
    "proactive": (
        "Hi {name}, your arrival is tomorrow. May we call you at {phone} about the transfer?",
    ),
}
_REFLECTIONS: Final = (
    "{name} asked about {booking}. The lookup was clear, so I answered without a person.",
    "The guest in room {room} ({name}, {phone}) sounds upset; policy says to bring in the manager.",
    "{name} wrote from {email}. No <b>refund</b> policy applies; nothing was promised.",
)
_REASONS: Final = {
    "resolved": ("answered_from_knowledge", "booking_confirmed", "request_fulfilled"),
    "escalated": ("guest_upset", "policy_requires_person", "refund_above_limit"),
    "escalation_and_answer": ("needs_confirmation",),
    "unresolved": ("booking_not_found",),
    "no_op": ("nothing_to_do", "duplicate_event"),
    "proactive": ("pre_arrival",),
}
# What a knowledge base gives back; a long one is well beyond what a span keeps.
_ARTICLE: Final = "Breakfast 7:00-10:30 in the garden room. Crèche on request. "

TOOLS: Final[Mapping[str, Tool]] = {
    "get_reservation": Tool(
        lambda guest, _rng: {"reservation_id": guest.booking},
        lambda guest, _rng: {"status": "confirmed", "guest": guest.name, "room": guest.room},
        "reservation not found",
    ),
    "check_availability": Tool(
        lambda _guest, rng: {"from": "2026-04-05", "nights": rng.randrange(1, 9)},
        lambda _guest, rng: {"rooms": rng.randrange(12)},
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
        lambda _guest, rng: {"hits": [{"chunk": _ARTICLE * rng.choice((1, 1, 1, 60))}]},
    ),
    "create_ticket": Tool(
        lambda guest, rng: {"room": guest.room, "what": rng.choice(("towels", "leak", "heating"))},
        lambda _guest, rng: {"ticket": rng.randrange(10_000, 99_999), "queue": "housekeeping"},
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
    "write_report": Tool(
        lambda _guest, rng: {"sections": rng.randrange(2, 9)},
        lambda _guest, rng: {"occupancy": rng.randrange(400, 990) / 1000},
    ),
}


def content_writer(
    tools: Mapping[str, float], *, max_calls: int, for_guests: bool = True
) -> ContentWriter:
    """Writes a run's content with up to `max_calls` calls of these tools, by weight."""

    def write(run: SimRun, rng: Random) -> RunContent:
        guest = rng.choice(GUESTS)
        count = 0 if rng.random() < _NO_TOOL else rng.randint(1, max_calls)
        names = rng.choices(tuple(tools), tuple(tools.values()), k=count)
        if run.disposition in ("escalated", "escalation_and_answer"):
            names[-1:] = ["escalate_to_human"]
        # A failed run's last call fails.
        called = [
            (name, rng.random() < _TOOL_FAILURES or (run.status == "failed" and at == count))
            for at, name in enumerate(names, start=1)
        ]
        items: list[Any] = [
            _item(run, name, failed=failed, guest=guest, rng=rng) for name, failed in called
        ]
        if items and rng.random() < _NULL_ITEM:
            items.insert(rng.randint(0, len(items)), None)
        if rng.random() < _UNNAMED_ITEM:
            items.append({"input": {"email": guest.email}, "output": {"found": 1}})
            called.append(("unknown", False))
        return RunContent(
            session_id=f"sess_{rng.randrange(1 << 24):06x}",
            disposition_reason=_text(_REASONS, run.disposition, guest, rng),
            trigger_event_id=f"te77{rng.getrandbits(112):028x}" if run.trigger_id else None,
            response=reply_to(guest, run.disposition, rng) if for_guests else None,
            reflection=reflection_on(guest, rng) if for_guests else None,
            tool_trace=json.dumps(items, ensure_ascii=False) if items else None,
            tools=tuple(called),
        )

    return write


def reply_to(guest: Guest, disposition: str | None, rng: Random) -> str | None:
    """The text that the guest gets, or None where none is written."""
    return _text(_REPLIES, disposition, guest, rng)


def reflection_on(guest: Guest, rng: Random) -> str:
    """Why the agent did what it did, in its own words."""
    return rng.choice(_REFLECTIONS).format_map(guest._asdict())


def _text(
    texts: Mapping[str, tuple[str, ...]], disposition: str | None, guest: Guest, rng: Random
) -> str | None:
    fitting = texts.get(disposition or "")
    return rng.choice(fitting).format_map(guest._asdict()) if fitting else None


def _item(run: SimRun, name: str, *, failed: bool, guest: Guest, rng: Random) -> dict[str, Any]:
    """A call as the documentation shows it; failure and times stand beside its three keys."""
    tool = TOOLS[name]
    item: dict[str, Any] = {
        "name": name,
        "input": tool.takes(guest, rng),
        "output": {"error": tool.failure} if failed else tool.gives(guest, rng),
    }
    if failed:
        item["status"] = "error"
    if run.completed_ns is not None and rng.random() < _TIMED_ITEM:
        length_ms = (run.completed_ns - run.created_ns) // MS_NS
        start_ms, end_ms = sorted((rng.randint(0, length_ms), rng.randint(0, length_ms)))
        item["started_at"] = json.loads(json_time(run.created_ns + start_ms * MS_NS))
        item["completed_at"] = json.loads(json_time(run.created_ns + end_ms * MS_NS))
    return item


_MESSAGING: Final = RunProfile(
    runs_per_hour=300,
    dispositions={
        "resolved": 70,
        "escalated": 8,
        "escalation_and_answer": 5,
        "unresolved": 6,
        "no_op": 8,
        None: 3,
    },
    errors=(
        "The model provider did not answer in time",
        "The model provider answered 529: overloaded",
        f"Could not deliver the reply to {GUESTS[0].email}\nTraceback: smtp 550, line 2",
    ),
    write_content=content_writer(
        {"search_kb": 5, "get_reservation": 4, "send_message": 4, "issue_refund": 0.5}, max_calls=5
    ),
)
_RESERVATIONS: Final = replace(
    _MESSAGING,
    runs_per_hour=200,
    duration_s=(3.0, 12.0, 60.0),
    dispositions={"resolved": 60, "proactive": 25, "escalated": 5, "unresolved": 10},
    write_content=content_writer(
        {"get_reservation": 4, "check_availability": 4, "update_reservation": 2}, max_calls=7
    ),
)
_HOUSEKEEPING: Final = replace(
    _MESSAGING,
    runs_per_hour=150,
    duration_s=(2.0, 5.0, 25.0),
    dispositions={"resolved": 50, "no_op": 40, "escalated": 2},
    write_content=content_writer({"create_ticket": 3, "send_message": 1}, max_calls=4),
)
_CONCIERGE: Final = replace(
    _MESSAGING,
    runs_per_hour=180,
    write_content=content_writer({"search_kb": 4, "book_table": 3, "send_message": 3}, max_calls=6),
)
# Internal agents are billed in credits: their cost is null, and no guest is near.
_REPORTING: Final = replace(
    _MESSAGING,
    runs_per_hour=70,
    duration_s=(8.0, 20.0, 60.0),
    dispositions={"no_op": 30, None: 70},
    is_priced=False,
    input_tokens=(4_000, 60_000),
    has_contact=False,
    write_content=content_writer({"write_report": 1}, max_calls=4, for_guests=False),
)
_WORKSPACES: Final = {
    "Harbor Hotels": (
        ("Guest Messaging", "Answers guests on every channel", "message", _MESSAGING),
        ("Reservations", "Changes and confirms bookings", "message", _RESERVATIONS),
        ("Housekeeping Dispatch", "Turns requests into tickets", "ticket", _HOUSEKEEPING),
    ),
    "Alpine Lodges": (
        ("Concierge", "Tables, transfers and tickets", "message", _CONCIERGE),
        ("Daily Reporting", "Internal: occupancy and revenue", "schedule", _REPORTING),
    ),
}


def hospitality(
    *,
    seed: int,
    start_ns: int,
    history_s: float = 1800.0,
    rate: float = 1.0,
    day: Sequence[float] = FLAT_DAY,
) -> Scenario:
    """A hotel group: two workspaces, five agents, a run every four seconds at rate 1.

    `start_ns` is now; there are runs from `history_s` before it, and they go on arriving after it.
    `day` says how busy each hour is.
    """
    rng = Random(seed)
    from_ns = start_ns - round(history_s * SECOND_NS)
    workspaces, agents = [], []
    for workspace_name, team in _WORKSPACES.items():
        workspace = SimWorkspace(random_id("j57", rng), workspace_name)
        workspaces.append(workspace)
        for name, description, trigger, profile in team:
            agent_id, trigger_id = random_id("ag77", rng), random_id("tr77", rng)
            profile = replace(  # noqa: PLW2901 - the same profile at this rate
                profile,
                runs_per_hour=profile.runs_per_hour * rate,
                day=day,
                trigger_ids=(trigger_id,),
            )
            agents.append(
                SimAgent(
                    id=agent_id,
                    workspace_id=workspace.id,
                    name=name,
                    description=description,
                    triggers=((trigger_id, trigger),),
                    created_ns=from_ns - 90 * 24 * 3600 * SECOND_NS,
                    runs=GeneratedRuns(
                        agent_id=agent_id, seed=seed, start_ns=from_ns, profile=profile
                    ),
                )
            )
    return Scenario(
        workspaces=workspaces,
        agents=agents,
        tokens={DEMO_TOKEN: tuple(one.id for one in workspaces)},
    )
