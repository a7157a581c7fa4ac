"""The settings of the trace backend, under the names that OpenTelemetry's specification gives.

They stay the texts that they are: what they mean together (the form for traces over the general
one, protocol, TLS) is the delivery stage's to say, from what `otlp_environment` hands it.
"""

from typing import Annotated, Any, Final

from pydantic import PlainValidator, SecretStr
from pydantic_settings import BaseSettings

from exporter.settings.field import Group, setting
from exporter.settings.values import parse_text

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
TRACES_PREFIX: Final = "OTEL_EXPORTER_OTLP_TRACES_"

# An endpoint may hold a password, and headers usually hold a key.
_Text = Annotated[str, PlainValidator(parse_text)]
_Secret = Annotated[SecretStr, PlainValidator(lambda text: SecretStr(parse_text(text)))]


def _general(name: str, description: str, *, otherwise: str = "", example: str = "") -> Any:
    return setting(
        PREFIX + name, description, group=Group.OTLP, otherwise=otherwise, example=example
    )


def _for_traces(name: str, addition: str = "") -> Any:
    return setting(
        TRACES_PREFIX + name,
        f"{PREFIX}{name} for traces alone{addition}",
        group=Group.OTLP,
        otherwise="the general one",
    )


class OtlpSettings(BaseSettings):
    """Where traces go, and how."""

    otlp_endpoint: _Secret | None = _general(
        "ENDPOINT",
        "Address of the trace backend; over HTTP, /v1/traces is added to it",
        otherwise="http://localhost:4318, with grpc http://localhost:4317",
        example="http://localhost:4318",
    )
    otlp_protocol: _Text | None = _general(
        "PROTOCOL", "http/protobuf or grpc", otherwise="http/protobuf", example="grpc"
    )
    otlp_headers: _Secret | None = _general(
        "HEADERS",
        "Headers sent along, name=value separated by commas, percent-encoded",
        example="authorization=Bearer%20abc123",
    )
    otlp_timeout: _Text | None = _general(
        "TIMEOUT",
        "How long one request may take, in milliseconds",
        otherwise="10000",
        example="10000",
    )
    otlp_compression: _Text | None = _general(
        "COMPRESSION", "gzip or none", otherwise="none", example="gzip"
    )
    otlp_certificate: _Text | None = _general(
        "CERTIFICATE",
        "PEM file of the authorities to trust",
        otherwise="those of the system",
        example="/etc/ssl/backend-ca.pem",
    )
    otlp_client_key: _Text | None = _general(
        "CLIENT_KEY", "PEM file of the client's private key", example="/etc/ssl/client.key"
    )
    otlp_client_certificate: _Text | None = _general(
        "CLIENT_CERTIFICATE", "PEM file of the client's certificate", example="/etc/ssl/client.pem"
    )
    otlp_insecure: _Text | None = _general(
        "INSECURE",
        "With grpc and an endpoint without a scheme: true for no TLS",
        otherwise="false",
        example="true",
    )
    otlp_traces_endpoint: _Secret | None = _for_traces("ENDPOINT", ", used exactly as it is")
    otlp_traces_protocol: _Text | None = _for_traces("PROTOCOL")
    otlp_traces_headers: _Secret | None = _for_traces("HEADERS")
    otlp_traces_timeout: _Text | None = _for_traces("TIMEOUT")
    otlp_traces_compression: _Text | None = _for_traces("COMPRESSION")
    otlp_traces_certificate: _Text | None = _for_traces("CERTIFICATE")
    otlp_traces_client_key: _Text | None = _for_traces("CLIENT_KEY")
    otlp_traces_client_certificate: _Text | None = _for_traces("CLIENT_CERTIFICATE")
    otlp_traces_insecure: _Text | None = _for_traces("INSECURE")

    def otlp_environment(self) -> dict[str, str]:
        """The OTEL_EXPORTER_OTLP_ settings that were given, by name; holds secrets in the clear."""
        texts: dict[str, str] = {}
        for field, info in OtlpSettings.model_fields.items():
            value = getattr(self, field)
            if value is not None:
                text = value.get_secret_value() if isinstance(value, SecretStr) else value
                texts[str(info.validation_alias)] = text
        return texts
