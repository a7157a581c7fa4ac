"""Guests and what is said to and about them: invented personal data, so that leaks can be seen.

Responses, reflections and most tool inputs and outputs of the scenarios carry some of
`PRIVATE_MARKS`; none of them may be found in what the exporter sends or serves unless content is
captured.
"""

from random import Random
from typing import Final, NamedTuple


class Guest(NamedTuple):
    """A guest; the addresses and numbers are reserved ones that belong to nobody."""

    name: str
    email: str
    phone: str
    card: str
    room: str
    booking: str


_NAMES: Final = (
    "Amélie Dupont",
    "Jonas Keller",
    "Siobhán O'Connor",
    "María José Núñez",
    "Thomas Grüber",
    "Priya Raghavan",
    "Łukasz Wiśniewski",
    "Yuki Tanaka 田中",
    "Fatima Al-Sayed",
    "Grace Okafor",
    "Henrik Sørensen",
    "Chloé Lefèvre",
)
_CARDS: Final = ("4111 1111 1111 1111", "5555 5555 5555 4444", "3782 822463 10005")


def _guest(number: int, name: str) -> Guest:
    plain = name.split(maxsplit=1)[0].encode("ascii", "ignore").decode().lower()
    return Guest(
        name=name,
        email=f"{plain}.{number}@guest-mail.example",
        phone=f"+1 202 555 01{number:02d}",
        card=_CARDS[number % len(_CARDS)],
        room=f"{number % 4 + 1}{number * 7 % 30 + 1:02d}",
        booking=f"res_{4100 + number * 37}",
    )


GUESTS: Final = tuple(_guest(number, name) for number, name in enumerate(_NAMES))
PRIVATE_MARKS: Final = tuple(
    mark for guest in GUESTS for mark in (guest.name, guest.email, guest.phone, guest.card)
)

_RESPONSES: Final = {
    "resolved": (
        "Hello {name}, your stay is confirmed: booking {booking}, room {room}. See you soon!",
        "Dear {name}, breakfast is served from 7 to 10:30. I have sent the menu to {email} 🥐",
        "Guten Tag {name}, Ihr Zimmer {room} ist ab 15 Uhr bereit. Wir rufen Sie unter {phone} an.",
        "Hola {name}, hemos añadido una cama supletoria a la reserva {booking}.\n¡Hasta pronto!",
        "Bonjour {name}, le petit déjeuner est servi jusqu'à 10 h 30. La carte est sur {email}.",
        "Gentile {name}, la camera {room} è pronta dalle 15; la chiamiamo al {phone}.",
        "{name} 様、ご予約 {booking} を承りました。お部屋は {room} です。",
        "مرحبا {name}، تم تأكيد الحجز {booking}. نراكم قريبا",
        "Dzień dobry {name}, pokój {room} czeka. Potwierdzenie wysłaliśmy na {email}.",
        "{name}, the refund to the card {card} is on its way; it takes three to five days.",
    ),
    "escalated": (
        "Thank you {name}, a colleague will get back to you at {phone} shortly.",
        "Vielen Dank {name}, eine Kollegin meldet sich gleich unter {phone}.",
    ),
    "escalation_and_answer": (
        "{name}, late check-out of room {room} is noted; a colleague confirms it to {email}.",
    ),
    "unresolved": (
        "I am sorry {name}, I could not find a booking for {email}.",
        "Désolé {name}, aucune réservation ne correspond à {email}.",
    ),
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


def reply_to(guest: Guest, disposition: str | None, rng: Random) -> str | None:
    """The text that the guest gets, or None where none is written."""
    texts = _RESPONSES.get(disposition or "")
    return rng.choice(texts).format_map(guest._asdict()) if texts else None


def reflection_on(guest: Guest, rng: Random) -> str:
    """Why the agent did what it did, in its own words."""
    return rng.choice(_REFLECTIONS).format_map(guest._asdict())


def reason_for(disposition: str | None, rng: Random) -> str | None:
    """The short tag beside a disposition."""
    reasons = _REASONS.get(disposition or "")
    return rng.choice(reasons) if reasons else None
