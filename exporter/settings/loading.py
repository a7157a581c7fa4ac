"""Makes the settings out of what the environment and a file say, or says everything wrong at once.

It opens the settings file and nothing else, and no problem that it reports shows a secret.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from exporter.errors import ConfigError
from exporter.settings.model import OTLP, Settings
from exporter.settings.values import read_texts

_PREFIXES: Final = ("CONDUIT_", "EXPORTER_")
# What Kubernetes injects for each service of a namespace, should one be called `conduit-...`.
_SERVICE_LINK: Final = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_")


def load(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """The settings; the environment stands above the file.

    Raises ConfigError with every problem, each under the name as typed.
    """
    texts, problems = read_texts(environ, env_file)
    problems += _unknown(texts, from_file=texts.keys() - environ.keys())
    if not _wants_otlp(texts):
        # Meant for other programs of the same environment; nothing in them is ours to judge.
        texts = {name: text for name, text in texts.items() if not name.startswith(OTLP)}
    if "CONDUIT_RUNS" in texts:
        texts.setdefault("CONDUIT_AGENTS", "")
    source = EnvSettingsSource(Settings)
    # What is handed in, in place of what this process was started with.
    source.env_vars = texts
    settings = None
    try:
        # BaseSettings' own argument, which the signature of a model hides.
        settings = Settings(_build_sources=((source,), {}))  # type: ignore[call-arg]
    except ValidationError as exc:
        problems += _invalid(exc, texts)
    if settings is None or problems:
        # Raised out here and without a cause: pydantic's own error carries the values.
        raise ConfigError(sorted(dict.fromkeys(problems)))
    return settings


def names_of(field: FieldInfo) -> list[str]:
    """The names a setting is read by, the one that goes before the other first."""
    alias = field.validation_alias
    return [str(one) for one in (alias.choices if isinstance(alias, AliasChoices) else [alias])]


def _unknown(texts: Iterable[str], *, from_file: Iterable[str]) -> Iterator[str]:
    """Names that look like settings and are none; a misspelt one would silently do nothing."""
    known = {name for field in Settings.model_fields.values() for name in names_of(field)}
    for name in texts:
        if name in known or not name.upper().startswith(_PREFIXES):
            continue
        if _SERVICE_LINK.search(name) and name not in from_file:
            continue
        near = difflib.get_close_matches(name.upper(), sorted(known), n=1)
        yield f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _invalid(error: ValidationError, texts: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with each value, under the name as typed."""
    by_name = {names_of(field)[0]: field for field in Settings.model_fields.values()}
    for flaw in error.errors(include_url=False, include_input=False):
        # pydantic tells the first name of a field, and of one that was not given the field itself.
        place = str(flaw["loc"][0])
        field = by_name.get(place) or Settings.model_fields[place]
        name = next((one for one in names_of(field) if one in texts), names_of(field)[-1])
        if flaw["type"] == "value_error":
            # The parsers' own sentence; pydantic's message puts words before it.
            yield f"{name}: {flaw['ctx']['error']}"
        else:
            lists_all = flaw["type"] == "literal_error"
            example = "" if lists_all or not field.default else f"; such as {field.default}"
            yield f"{name}: {flaw['msg'][0].lower()}{flaw['msg'][1:]}{example}"


def _wants_otlp(texts: Mapping[str, str]) -> bool:
    exporter, disabled = texts.get("OTEL_TRACES_EXPORTER"), texts.get("OTEL_SDK_DISABLED")
    return (exporter or "otlp").lower() == "otlp" and (disabled or "").lower() != "true"
