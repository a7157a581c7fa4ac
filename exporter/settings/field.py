"""How a setting is declared: its name for the operator, what it does, its group and default.

Only the declaration; values and checks are in `values`, the settings themselves in `model`.
"""

from enum import StrEnum
from typing import Any

from pydantic import Field


class Group(StrEnum):
    """What a setting is about, in the order of the documentation."""

    CONDUIT = "Conduit"
    READING = "Reading"
    LEDGER = "Ledger"
    TRACES = "Traces"
    CONTENT = "Content"
    OTLP = "Trace backend (OpenTelemetry's own names)"
    PAGES = "Metrics and pages"
    LOGS = "Logs"
    REPLICAS = "Replicas"


def setting(
    name: str,
    description: str,
    *,
    group: Group,
    default: str | tuple[()] | None = None,
    otherwise: str = "",
    example: str = "",
) -> Any:
    """A field of the model, read from `name`.

    A `default` that is a text is like the operator's and goes through the same checks. Where there
    is none, `otherwise` says in words what happens without a value, and `example` shows one.
    """
    about: dict[str, Any] = {
        "validation_alias": name,
        "validate_default": isinstance(default, str),
        "description": description,
        "json_schema_extra": {"group": group.value, "otherwise": otherwise, "example": example},
    }
    return Field(default, **about)
