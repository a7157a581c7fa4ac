"""Ways to spoil one run's JSON while its page stays sound; for `SimulatedConduit.edit_run`."""

from typing import Final

from exporter.demo.answers import Edit, Field, json_text

LONE_SURROGATE: Final = "\ud800"
HOSTILE_NUMBERS: Final = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000)


def without(*names: str) -> Edit:
    """The fields are missing."""
    return lambda fields: [one for one in fields if one[0] not in names]


def null(*names: str) -> Edit:
    """The fields are null."""
    return lambda fields: [(name, "null" if name in names else value) for name, value in fields]


def renamed(old: str, new: str) -> Edit:
    """A field has another name."""
    return lambda fields: [(new if name == old else name, value) for name, value in fields]


def valued(name: str, json_value: str) -> Edit:
    """A field has this JSON text as its value, valid or not, wherever the field is shown."""
    return lambda fields: [(key, json_value if key == name else value) for key, value in fields]


def text(name: str, value: str) -> Edit:
    """A field has this string as its value: markup, control characters, lone surrogates."""
    return valued(name, json_text(value))


def added(name: str, json_value: str) -> Edit:
    """One more field at the end; a name that stands there already stands there twice."""
    return lambda fields: [*fields, (name, json_value)]


def together(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(fields: list[Field]) -> list[Field]:
        for one in edits:
            fields = one(fields)
        return fields

    return edit
