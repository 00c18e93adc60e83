"""TLS 1.3 between nodes: strangers stay anonymous, the node that is dialled can be pinned by its key.

A standard-library server cannot see a stranger's self-signed certificate, so only the dialled side shows one.
Without a pin the encryption keeps listeners out, not somebody in the middle; consensus does not rest on it.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from chain.network.errors import NetworkError

KEY_FILE = "peer_key.pem"
ALPN = "zion/1"
HANDSHAKE_SECONDS = 10.0


def ensure_certificate(directory: Path) -> Path:
    """Return the file with the node's key and certificate, made at the first start, for its owner alone."""
    path = directory / KEY_FILE
    if path.exists():
        return path
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zion")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
        .sign(key, None)
    )
    content = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = path.with_suffix(".new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return the context of the listening side. Raises `NetworkError` for a damaged file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise NetworkError(
            f"{certificate} cannot be used: {error}", hint="delete it: a new one is made"
        ) from None
    return context


def client_context() -> ssl.SSLContext:
    """Return the context of the dialling side. It takes every certificate; see `fingerprint`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 (hex) of a certificate in DER: what KEY@host:port pins."""
    return hashlib.sha256(certificate).hexdigest()


def own_fingerprint(certificate: Path) -> str:
    """Return the fingerprint of a node's own certificate."""
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return fingerprint(found.public_bytes(serialization.Encoding.DER))
