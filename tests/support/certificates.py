"""A throw-away certificate authority, and a certificate for the names of a test."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = dt.timedelta(days=2)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, issuer, public):
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFETIME)
        .not_valid_after(now + LIFETIME)
    )


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_certificates(directory: Path, names, addresses=()):
    """Write ``ca.pem`` and ``server.pem`` (key and certificate for all ``names``); their paths."""
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    issuer = _name("test authority")
    itself = _builder(issuer, issuer, authority.public_key())
    for extension, critical in (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), False),
    ):
        itself = itself.add_extension(extension, critical=critical)
    alternatives = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    leaf = _builder(_name(names[0]), issuer, key.public_key()).add_extension(
        x509.SubjectAlternativeName(alternatives), critical=False
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "ca.pem").write_bytes(_pem(itself.sign(authority, hashes.SHA256())))
    (directory / "server.pem").write_bytes(private + _pem(leaf.sign(authority, hashes.SHA256())))
    return directory / "ca.pem", directory / "server.pem"
