"""Certificates of the connection to the trace backend; verification cannot be switched off."""

import ssl
from pathlib import Path

import certifi

from exporter.delivery.endpoint import OtlpEndpoint
from exporter.errors import DeliveryError


def tls_context(endpoint: OtlpEndpoint) -> ssl.SSLContext:
    """Trusts the endpoint's CA file alone where it names one, else the system's authorities."""
    try:
        context = ssl.create_default_context(cafile=str(_trusted_file(endpoint) or certifi.where()))
    except OSError as exc:  # ssl.SSLError is one of them
        raise _unusable("CERTIFICATE", endpoint.ca_file, exc) from exc
    if endpoint.ca_file is None:
        # The system may keep its authorities in a folder instead of a file.
        context.load_default_certs()
    if endpoint.client_certificate_file is not None:
        try:
            # An encrypted key fails instead of asking a terminal for its password.
            context.load_cert_chain(
                endpoint.client_certificate_file, endpoint.client_key_file, password=""
            )
        except OSError as exc:
            raise _unusable("CLIENT_CERTIFICATE", endpoint.client_certificate_file, exc) from exc
    return context


def read_certificates(endpoint: OtlpEndpoint) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Trusted authorities, client key and client certificate as PEM, for gRPC.

    They are checked as OpenSSL would, because gRPC tells a bad file only by failing later.
    """
    tls_context(endpoint)
    trusted = _trusted_file(endpoint)
    key, certificate = endpoint.client_key_file, endpoint.client_certificate_file
    return (
        trusted.read_bytes() if trusted is not None else None,
        key.read_bytes() if key is not None else None,
        certificate.read_bytes() if certificate is not None else None,
    )


def _trusted_file(endpoint: OtlpEndpoint) -> Path | None:
    """The file of authorities: the endpoint's, else the system's, None where it has none."""
    if endpoint.ca_file is not None:
        return endpoint.ca_file
    system = ssl.get_default_verify_paths().cafile
    return Path(system) if system else None


def _unusable(option: str, path: Path | None, exc: OSError) -> DeliveryError:
    return DeliveryError(
        f"The certificate file {path} cannot be used: {exc.strerror or exc}",
        hint=f"OTEL_EXPORTER_OTLP_{option}",
    )
