"""The one model of every setting.

Each field says under which name it is read, what it does and what its default is; the same text
makes the help, the example file and the documentation. It reads nothing by itself: `loading.load`
fills it, and only `app` hands its values on, as plain values.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import PlainValidator, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from exporter.conduit.token import TokenSource
from exporter.convert.redaction import Pattern
from exporter.errors import ConfigError
from exporter.models import DISPOSITIONS, TERMINAL_STATUSES
from exporter.settings import addresses, values
from exporter.settings.field import Group, setting
from exporter.settings.otlp import OtlpSettings

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")
_SHORTEST_SECRET: Final = 6
_MEBIBYTE: Final = 1 << 20


def _parse_token(text: str) -> SecretStr:
    try:
        TokenSource(text=text)
    except ConfigError as exc:
        raise ValueError(exc.problems[0].removeprefix("The token ")) from None
    return SecretStr(text)


_Text = Annotated[str, PlainValidator(values.parse_text)]
_File = Annotated[Path, PlainValidator(values.parse_path)]
_Rate = Annotated[float, PlainValidator(values.parse_rate)]
_Ratio = Annotated[float, PlainValidator(values.parse_ratio)]
_Count = Annotated[int, PlainValidator(values.parse_count)]
_Switch = Annotated[bool, PlainValidator(values.parse_switch)]
_Duration = Annotated[float, PlainValidator(values.parse_duration_s)]


class Settings(OtlpSettings):
    """Every setting, checked and typed."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_token: Annotated[SecretStr, PlainValidator(_parse_token)] | None = setting(
        "CONDUIT_API_TOKEN",
        "Token of the Conduit API; either this or CONDUIT_API_TOKEN_FILE is required",
        group=Group.CONDUIT,
        example="cdt_live_0123456789",
    )
    api_token_file: _File | None = setting(
        "CONDUIT_API_TOKEN_FILE",
        "File that holds the token; read again when it changes and after a 401",
        group=Group.CONDUIT,
        example="/run/secrets/conduit-token",
    )
    base_url: Annotated[str, PlainValidator(addresses.parse_base_url)] = setting(
        "CONDUIT_BASE_URL",
        "Address of the Conduit API, without /v1",
        group=Group.CONDUIT,
        default="https://api.conduit.ai",
    )
    workspaces: Annotated[tuple[str, ...], PlainValidator(values.parse_ids)] = setting(
        "CONDUIT_WORKSPACES",
        "Ids of the workspaces to read, separated by commas",
        group=Group.CONDUIT,
        default=(),
        otherwise="all that the token sees",
        example="ws_one,ws_two",
    )
    agents: Annotated[frozenset[str] | None, PlainValidator(values.parse_agents)] = setting(
        "CONDUIT_AGENTS",
        "Ids of the agents to read, separated by commas; `*` for all",
        group=Group.CONDUIT,
        otherwise="`*`, or none when CONDUIT_RUNS is set",
        example="ag_one,ag_two",
    )
    runs: Annotated[tuple[tuple[str, str], ...], PlainValidator(values.parse_runs)] = setting(
        "CONDUIT_RUNS",
        "Runs to fetch by name, agent_id/run_id separated by commas; "
        "those in flight are waited for",
        group=Group.CONDUIT,
        default=(),
        example="ag_one/ar_first,ag_one/ar_second",
    )
    requests_per_minute: _Rate = setting(
        "CONDUIT_REQUESTS_PER_MINUTE",
        "Requests a minute that each workspace may spend; Conduit grants 120 by default, "
        "shared with everything else that uses the workspace",
        group=Group.CONDUIT,
        default="90",
    )

    poll_interval_s: Annotated[
        float, PlainValidator(partial(values.parse_duration_s, least_s=0.5))
    ] = setting(
        "EXPORTER_POLL_INTERVAL",
        "How often an agent's list is read, from 500ms; idle agents up to four times as rarely",
        group=Group.READING,
        default="15s",
    )
    lookback_s: _Duration = setting(
        "EXPORTER_LOOKBACK",
        "How far back a first start reads",
        group=Group.READING,
        default="24h",
    )

    ledger_url: Annotated[
        SecretStr, PlainValidator(lambda text: SecretStr(addresses.parse_ledger_url(text)))
    ] = setting(
        "EXPORTER_LEDGER",
        "Where the exporter remembers what it counted and delivered: sqlite:///PATH "
        "(postgresql://USER@HOST/DATABASE is reserved for replicas, and refused by this version)",
        group=Group.LEDGER,
        default="sqlite:///conduit-exporter.db",
    )
    retention_s: _Duration = setting(
        "EXPORTER_RETENTION",
        "How long delivered traces and settled runs are kept",
        group=Group.LEDGER,
        default="7d",
    )
    outbox_limit_bytes: Annotated[
        int, PlainValidator(partial(values.parse_size_bytes, least=_MEBIBYTE))
    ] = setting(
        "EXPORTER_OUTBOX_LIMIT",
        "Undelivered traces at which fetching pauses; nothing is dropped",
        group=Group.LEDGER,
        default="1GiB",
    )

    traces_exporter: Annotated[
        Literal["otlp", "console", "none"],
        PlainValidator(partial(values.parse_choice, choices=("otlp", "console", "none"))),
    ] = setting(
        "OTEL_TRACES_EXPORTER",
        "Where traces go: otlp, console (standard output) or none (metrics only)",
        group=Group.TRACES,
        default="otlp",
    )
    otel_service_name: _Text | None = setting(
        "OTEL_SERVICE_NAME",
        "service.name of every trace",
        group=Group.TRACES,
        otherwise="conduit",
        example="conduit-hotels",
    )
    otel_resource_attributes: Annotated[
        tuple[tuple[str, str], ...], PlainValidator(values.parse_resource_attributes)
    ] = setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        "Resource attributes of every trace, key=value separated by commas, percent-encoded",
        group=Group.TRACES,
        default=(),
        example="deployment.environment.name=production",
    )
    trace_detail: Annotated[
        Literal["full", "summary"],
        PlainValidator(partial(values.parse_choice, choices=("full", "summary"))),
    ] = setting(
        "EXPORTER_TRACE_DETAIL",
        "full: a span for each tool call, one request a run; "
        "summary: the run's span alone, no request",
        group=Group.TRACES,
        default="full",
    )
    trace_sample_ratio: _Ratio = setting(
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "Share of runs that become traces, 0 to 1; metrics count every run",
        group=Group.TRACES,
        default="1.0",
    )
    trace_always: Annotated[
        frozenset[str],
        PlainValidator(partial(values.parse_words, known=(*TERMINAL_STATUSES, *DISPOSITIONS))),
    ] = setting(
        "EXPORTER_TRACE_ALWAYS",
        "Statuses and dispositions that become traces whatever the ratio, separated by commas; "
        "`none` for no exception",
        group=Group.TRACES,
        default="failed,escalated,escalation_and_answer",
    )
    tool_timing: Annotated[
        Literal["instants", "slices"],
        PlainValidator(partial(values.parse_choice, choices=("instants", "slices"))),
    ] = setting(
        "EXPORTER_TOOL_TIMING",
        "Tool calls without a time of their own are drawn as instants or as equal slices of the "
        "run; marked as synthetic either way",
        group=Group.TRACES,
        default="instants",
    )

    capture_content: _Switch = setting(
        "EXPORTER_CAPTURE_CONTENT",
        "Whether responses, reflections, tool inputs and outputs go into traces, masked",
        group=Group.CONTENT,
        default="false",
    )
    redact_patterns: Annotated[tuple[Pattern, ...], PlainValidator(values.parse_patterns)] = (
        setting(
            "EXPORTER_REDACT",
            "Regular expressions (RE2, as in Prometheus) of what to mask besides e-mail addresses, "
            "phone and card numbers, one a line; in a file, inside single quotes",
            group=Group.CONTENT,
            default=(),
            example=r"'BK-[0-9]{6}'",
        )
    )

    listen: Annotated[addresses.ListenAddress, PlainValidator(addresses.parse_listen)] = setting(
        "EXPORTER_LISTEN",
        "Where /metrics, the health checks and the pages are served, host:port",
        group=Group.PAGES,
        default="0.0.0.0:10464",
    )
    web_config_file: _File | None = setting(
        "EXPORTER_WEB_CONFIG_FILE",
        "TLS and basic auth, in the format of Prometheus' exporter-toolkit",
        group=Group.PAGES,
        otherwise="plain HTTP, open to all who reach it",
        example="/etc/conduit-exporter/web.yml",
    )
    max_label_values: _Count = setting(
        "EXPORTER_MAX_LABEL_VALUES",
        "Distinct tool names and dispositions an agent may bring into the metrics; "
        "the rest counts as `other`",
        group=Group.PAGES,
        default="100",
    )
    trace_link: Annotated[str, PlainValidator(addresses.parse_trace_link)] | None = setting(
        "EXPORTER_TRACE_LINK",
        "Address of a trace's page in your trace backend, with {trace_id}; makes ids links",
        group=Group.PAGES,
        example="http://localhost:16686/trace/{trace_id}",
    )

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        PlainValidator(partial(values.parse_choice, choices=LOG_LEVELS)),
    ] = setting(
        "EXPORTER_LOG_LEVEL",
        "debug, info, warning or error",
        group=Group.LOGS,
        default="info",
    )
    log_format: Annotated[
        Literal["text", "json"],
        PlainValidator(partial(values.parse_choice, choices=LOG_FORMATS)),
    ] = setting(
        "EXPORTER_LOG_FORMAT",
        "text, or json (an object a line)",
        group=Group.LOGS,
        default="text",
    )

    replica: _Text | None = setting(
        "EXPORTER_REPLICA",
        "Name of this process among those that share a PostgreSQL ledger",
        group=Group.REPLICAS,
        otherwise="the host name",
        example="exporter-1",
    )
    lease_s: Annotated[float, PlainValidator(partial(values.parse_duration_s, least_s=1.0))] = (
        setting(
            "EXPORTER_LEASE",
            "How long a silent process keeps its workspaces before another takes over, from 1s",
            group=Group.REPLICAS,
            default="15s",
        )
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the framework's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `loading.load` hands in: a model that looked around would not be testable."""
        return (init_settings,)

    @property
    def service_name(self) -> str:
        """service.name: its own setting, else the resource attribute, else `conduit`."""
        named = dict(self.otel_resource_attributes).get("service.name")
        return self.otel_service_name or named or "conduit"

    @property
    def resource_attributes(self) -> tuple[tuple[str, str], ...]:
        """The resource attributes but for service.name."""
        return tuple(item for item in self.otel_resource_attributes if item[0] != "service.name")

    @property
    def conduit_server(self) -> tuple[str, int | None]:
        """Host of the Conduit API, and its port where that is not the scheme's own."""
        url = urlsplit(self.base_url)
        return url.hostname or "", url.port

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works, but should be known at every start."""
        found = []
        if self.base_url.startswith("http:") and not addresses.is_loopback(self.conduit_server[0]):
            found.append(
                f"CONDUIT_BASE_URL {self.base_url} has no TLS: "
                "the token travels readable by everyone on the way"
            )
        return tuple(found)

    def secrets(self) -> tuple[str, ...]:
        """Every secret among the settings, for logs to mask; the token file is not read."""
        found = [self.api_token.get_secret_value()] if self.api_token is not None else []
        for url in (self.ledger_url, self.otlp_endpoint, self.otlp_traces_endpoint):
            found += _password(url)
        for headers in (self.otlp_headers, self.otlp_traces_headers):
            for header in (headers.get_secret_value() if headers else "").split(","):
                encoded = header.partition("=")[2].strip()
                found += (encoded, unquote(encoded))
        # Shorter ones are words ("true", "gzip") that would tear holes into every line.
        return tuple(dict.fromkeys(one for one in found if len(one) >= _SHORTEST_SECRET))


def _password(url: SecretStr | None) -> list[str]:
    try:
        password = urlsplit(url.get_secret_value()).password if url is not None else None
    except ValueError:
        return []
    return [password, unquote(password)] if password else []
