"""Whether a pattern of the operator's is quick on every text, judged before it is ever used.

Python's matcher tries every way in which a pattern may fit, and a guest who writes the right text
makes `(a+)+b` try for years; nothing can interrupt it. So the steps of the worst text are counted
from the pattern's structure, always upwards, and a pattern that may need too many is refused. It
never runs a pattern.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# No text is longer where patterns are used, see `redaction`.
LONGEST_TEXT: Final = 2_560
# At each place of the text: about a second in all, for the worst pattern on the worst text.
_MOST_STEPS: Final = 16 * LONGEST_TEXT
_ENDLESS: Final = 10**9

_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_ONE_CHARACTER: Final = ("LITERAL", "NOT_LITERAL", "IN", "ANY")
_ASCII: Final = frozenset(range(128))
_SAMPLE_OF_CLASS: Final = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_NOT_DIGIT": re.compile(r"\D"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_NOT_SPACE": re.compile(r"\S"),
    "CATEGORY_WORD": re.compile(r"\w"),
    "CATEGORY_NOT_WORD": re.compile(r"\W"),
}
# The standard library's own parser. Private, and without types, but the only one that reads a
# pattern as `re` does; tests run it on every Python that is supported.
_parser: Final = importlib.import_module("re._parser")

_Node = tuple[Any, Any]


def is_quick(pattern: re.Pattern[str]) -> bool:
    """Whether the pattern needs few enough steps on any text of `LONGEST_TEXT` characters."""
    nodes = list(_parser.parse(pattern.pattern, pattern.flags))
    return _Counting(pattern.flags).cost(nodes, None, final=True).steps <= _MOST_STEPS


@dataclass(frozen=True, slots=True)
class _Cost:
    """From one place of the text: in how many ways a part may fit, and steps to try them all."""

    ways: int
    steps: int


class _Counting:
    """Counts the steps of a parsed pattern, or of a group that has flags of its own."""

    def __init__(self, flags: int) -> None:
        self._flags = flags

    def cost(self, nodes: Sequence[_Node], following: _Node | None, *, final: bool) -> _Cost:
        """The cost of parts in a row; `final`: behind them nothing can fail any more."""
        ways, steps = 1, 1
        for place, node in enumerate(nodes):
            last = place + 1 == len(nodes)
            one = self._node(node, following if last else nodes[place + 1], final=final and last)
            steps = min(steps + ways * one.steps, _ENDLESS)
            ways = min(ways * one.ways, _ENDLESS)
        return _Cost(ways, steps)

    def _node(self, node: _Node, following: _Node | None, *, final: bool) -> _Cost:
        name, told = str(node[0]), node[1]
        if name in _REPEATS:
            return self._repeat(told, following, final=final)
        if name == "SUBPATTERN":
            _, flags_on, flags_off, body = told
            # A flag that holds for a part is taken to hold: that counts upwards.
            return _Counting(self._flags | flags_on | flags_off).cost(body, following, final=final)
        if name == "BRANCH":
            return _either([self.cost(one, following, final=final) for one in told[1]])
        if name == "GROUPREF_EXISTS":
            return _either([self.cost(one or (), following, final=final) for one in told[1:]])
        if name in ("ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            body = told if name == "ATOMIC_GROUP" else told[1]
            return self.cost(body, None, final=False)
        return _Cost(1, LONGEST_TEXT if name == "GROUPREF" else 1)

    def _repeat(self, told: Any, following: _Node | None, *, final: bool) -> _Cost:
        least, most, body = int(told[0]), min(int(told[1]), LONGEST_TEXT), list(told[2])
        one = self.cost(body, None, final=False)
        if one.ways == 1:
            settled = least == told[1] or final or self._ends_surely(body, following)
            return _Cost(1 if settled else max(most - least, 0) + 1, one.steps * most + 1)
        # Each round multiplies the ways of those before it.
        ways = rounds = 1
        for _ in range(most):
            rounds *= one.ways
            ways += rounds
            if ways > _ENDLESS:
                break
        return _Cost(min(ways, _ENDLESS), min(ways * one.steps, _ENDLESS))

    def _ends_surely(self, body: Sequence[_Node], following: _Node | None) -> bool:
        """Whether a repeated character can stop at one place only: what follows is none of it."""
        if following is None or len(body) != 1 or str(body[0][0]) not in _ONE_CHARACTER:
            return False
        if self._flags & re.ASCII:
            return False  # the samples of classes are Unicode's
        ahead = _first_character(following)
        if ahead is None:
            return False
        return not any(
            self._admits(body[0], point) and self._admits(ahead, point)
            for point in _ASCII | _edges(body[0]) | _edges(ahead)
        )

    def _admits(self, node: _Node, point: int) -> bool:
        char = chr(point)
        if not self._flags & re.IGNORECASE:
            return _matches(node, point)
        upper = char.upper()
        spellings = {char, char.lower(), char.swapcase(), upper, upper.lower()}
        return any(_matches(node, ord(one)) for one in spellings if len(one) == 1)


def _either(costs: Sequence[_Cost]) -> _Cost:
    return _Cost(sum(one.ways for one in costs), sum(one.steps for one in costs))


def _first_character(node: _Node) -> _Node | None:
    """The part that reads a part's first character, if there is just one that must."""
    while True:
        name, told = str(node[0]), node[1]
        if name in _ONE_CHARACTER:
            return node
        if name == "SUBPATTERN" and told[3]:
            node = told[3][0]
        elif name in _REPEATS and told[0] > 0 and told[2]:
            node = told[2][0]
        else:
            return None


def _edges(node: _Node) -> set[int]:
    """Characters at which a set begins or ends: sets that meet at all, meet at one of these."""
    name, told = str(node[0]), node[1]
    points: set[int] = set()
    if name in ("LITERAL", "NOT_LITERAL"):
        points = {told}
    elif name == "RANGE":
        points = set(told)
    elif name == "IN":
        return set[int]().union(*map(_edges, told))
    return {near for point in points for near in range(max(point - 1, 0), min(point + 2, 0x110000))}


def _matches(node: _Node, point: int) -> bool:
    name, told = str(node[0]), node[1]
    if name == "LITERAL":
        return bool(point == told)
    if name == "NOT_LITERAL":
        return bool(point != told)
    if name == "RANGE":
        return bool(told[0] <= point <= told[1])
    if name == "CATEGORY":
        return _SAMPLE_OF_CLASS[str(told)].match(chr(point)) is not None
    if name == "IN":
        negated = str(told[0][0]) == "NEGATE"
        return any(_matches(one, point) for one in told[negated:]) != negated
    return True  # any character
