"""Makes the settings out of what the environment and a file say, or says everything wrong at once.

It opens the settings file and nothing else, and no problem that it reports holds a secret.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from exporter.errors import ConfigError
from exporter.settings.model import Settings
from exporter.settings.otlp import PREFIX
from exporter.settings.sources import Given, read_given

_PREFIXES: Final = ("CONDUIT_", "EXPORTER_")
# What Kubernetes injects for each service of a namespace, should one be called `conduit-...`.
_SERVICE_LINK: Final = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_")
_NEITHER: Final = (
    "CONDUIT_API_TOKEN: is missing; allowed: the token here, "
    "or in CONDUIT_API_TOKEN_FILE the file that holds it"
)
_MISSPELT: Final = 0.85
_OTLP_NAME: Final = re.compile(rf"{PREFIX}[A-Z_]+")

# Takes the OTEL_EXPORTER_OTLP_ settings by name; raises ConfigError where they make no sense.
OtlpCheck = Callable[[Mapping[str, str]], object]


def load(
    environ: Mapping[str, str],
    env_file: Path | None = None,
    *,
    check_otlp: OtlpCheck | None = None,
) -> Settings:
    """The settings; the environment stands above the file.

    `check_otlp` has its say where traces go by OTLP, so that its problems are reported along with
    the rest. Raises ConfigError with every problem, each under the name as typed.
    """
    given, problems = read_given(environ, env_file)
    names = _names()
    problems += _unknown(given.values(), names)
    problems += _token_problems(given)
    texts = {name: one.text for name, one in given.items() if name in names}
    if "CONDUIT_RUNS" in texts:
        texts.setdefault("CONDUIT_AGENTS", "")
    if check_otlp is not None:
        problems += _otlp_problems(texts, check_otlp, given)
    try:
        settings = Settings.model_validate(texts)
    except ValidationError as exc:
        problems += _validation_problems(exc, given)
    else:
        if not problems:
            return settings
    # Raised out here and without a cause: pydantic's own error carries the values.
    raise ConfigError(sorted(dict.fromkeys(problems)))


def _names() -> frozenset[str]:
    return frozenset(str(field.validation_alias) for field in Settings.model_fields.values())


def _unknown(given: Iterable[Given], names: frozenset[str]) -> list[str]:
    """Names that look like settings and are none; a misspelt one would silently do nothing."""
    problems = []
    for one in given:
        if one.name in names:
            continue
        upper = one.name.upper()
        if upper in names:
            problems.append(f"{one.label}: is written {upper}")
        elif one.name.startswith(_PREFIXES):
            if one.file is None and _SERVICE_LINK.search(one.name):
                continue
            problems.append(f"{one.label}: no such setting{_suggestion(upper, names, cutoff=0.6)}")
        elif one.file is not None and (near := _suggestion(upper, names, cutoff=_MISSPELT)):
            problems.append(f"{one.label}: no such setting{near}")
    return problems


def _suggestion(name: str, names: frozenset[str], *, cutoff: float) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def _token_problems(given: Mapping[str, Given]) -> list[str]:
    text, file = given.get("CONDUIT_API_TOKEN"), given.get("CONDUIT_API_TOKEN_FILE")
    if text is None and file is None:
        return [_NEITHER]
    if text is not None and file is not None:
        return [f"{text.label}: is given beside {file.label}; keep one of the two"]
    return []


def _otlp_problems(
    texts: Mapping[str, str], check: OtlpCheck, given: Mapping[str, Given]
) -> list[str]:
    if texts.get("OTEL_TRACES_EXPORTER", "otlp").lower() != "otlp":
        return []
    try:
        check({name: text for name, text in texts.items() if name.startswith(PREFIX)})
    except ConfigError as exc:
        return [_located(problem, given) for problem in exc.problems]
    return []


def _located(problem: str, given: Mapping[str, Given]) -> str:
    """A problem that begins with a setting's name, with the place where that was given."""
    name = _OTLP_NAME.match(problem)
    if name is None or name[0] not in given:
        return problem
    return given[name[0]].label + problem[name.end() :]


def _validation_problems(error: ValidationError, given: Mapping[str, Given]) -> list[str]:
    problems = []
    for flaw in error.errors(include_url=False, include_input=False):
        name = str(flaw["loc"][0])
        # The parsers' own sentence; pydantic's message puts words before it.
        cause = flaw.get("ctx", {}).get("error", flaw["msg"])
        problems.append(f"{given[name].label if name in given else name}: {cause}")
    return problems
