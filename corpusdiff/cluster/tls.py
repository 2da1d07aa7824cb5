"""Certificates for the links between driver, scheduler and workers: one folder, the same on every host.

Dask asks both ends of a link for a certificate and takes any that the folder's authority has signed, whatever
names are in it. Who has the folder belongs to the cluster, so its key is as secret as an SSH key.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from corpusdiff.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, KeyUsage
    from distributed import Security

#: Files of a folder of certificates: the authority's certificate, everybody's certificate, and its key.
CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"

#: How long certificates are valid, in days.
VALID_DAYS = 5 * 365

#: How far a host's clock may be behind the one that made the certificates, in days.
_SKEW_DAYS = 2

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def make_certificates(folder: str, hosts: Iterable[str] = ()) -> Path:
    """Make ``ca.pem``, ``cert.pem`` and ``key.pem`` in a new folder, which only this user may read.

    One certificate serves driver, scheduler and workers. The key that signed it is not kept: nobody can make
    further certificates that the cluster trusts, and a new folder is a new authority.

    Parameters
    ----------
    folder : it must not be there, or be empty
    hosts : names and addresses to be in the certificate beside this host's; Dask does not look at them

    Returns the folder. Raises UsageError where it cannot be made, has files in it, or a host is no name or address.
    """
    target = Path(folder).absolute()
    names = _names(hosts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
            raise UsageError(
                f"{folder} is there already: certificates are never overwritten. Name a new folder, or remove this one "
                "when no run uses it"
            )
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))  # 0700
        try:
            for name, content in _signed(names).items():
                (made / name).touch(mode=0o600 if name == KEY else 0o644)
                (made / name).write_bytes(content)
            made.rename(target)  # all files or none; fails where another command was first
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(f"certificates cannot be made in {folder}: {error}") from error
    return target


def security(folder: str) -> Security:
    """What Dask's scheduler, workers and clients need to speak to each other encrypted, and to nobody else.

    Raises UsageError where files are missing, may be read by others, do not belong together or have expired.
    """
    from distributed import Security

    check_certificates(folder)
    ca, cert, key = (str(Path(folder).absolute() / name) for name in (CA, CERT, KEY))
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        tls_client_cert=cert,
        tls_client_key=key,
    )


def check_certificates(folder: str) -> None:
    """Raise UsageError where files are missing, may be read by others, do not belong together or have expired."""
    place = Path(folder).absolute()
    try:
        _check_files(place)
    except PermissionError as error:
        raise UsageError(f"--tls {folder}: {error}; give it to the user who runs corpusdiff") from error
    _check_handshake(place)


def _check_files(place: Path) -> None:
    missing = [name for name in (CA, CERT, KEY) if not (place / name).is_file()]
    if missing:
        there = f"lacks {', '.join(missing)}" if place.is_dir() else "is no folder"
        raise UsageError(
            f"--tls {place} {there}: make the certificates once with `corpusdiff certificates {place}`, and copy the "
            "folder to every host"
        )
    for name in (CA, CERT, KEY):
        (place / name).open("rb").close()
    status = (place / KEY).stat()
    # A key of root's may be read by a group: so Kubernetes gives secrets to a user who is not root.
    allowed = 0o700 if status.st_uid == os.geteuid() else 0o740
    if stat.S_IMODE(status.st_mode) & ~allowed:
        raise UsageError(
            f"--tls {place}: {KEY} has mode {stat.S_IMODE(status.st_mode):04o}, others may use it; `chmod 600 "
            f"{place / KEY}`, and make new certificates if others could read it"
        )


def _check_handshake(place: Path) -> None:
    """Let both ends of a link meet in memory: whatever is wrong with the files, OpenSSL says it."""
    try:
        contexts = []
        for purpose in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
            context = ssl.create_default_context(purpose, cafile=place / CA)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(place / CERT, place / KEY)
            contexts.append(context)
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = contexts[0].wrap_bio(back, there)
        server = contexts[1].wrap_bio(there, back, server_side=True)
        while not all([_is_done(client.do_handshake), _is_done(server.do_handshake)]):
            pass
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or str(error)
        raise UsageError(
            f"--tls {place}: {CA}, {CERT} and {KEY} do not make an encrypted link here ({why}): look at this host's "
            "clock, or make new ones with `corpusdiff certificates DIR` and copy the folder to every host"
        ) from error


def _is_done(handshake: Callable[[], None]) -> bool:
    try:
        handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _names(hosts: Iterable[str]) -> list[str]:
    """Names of this host and those given, each once; only what can be in a certificate."""
    ours = [name for name in (socket.gethostname(), socket.getfqdn()) if _NAME.fullmatch(name)]
    names = dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1", *ours])
    for name in names:
        if not (_NAME.fullmatch(name) or _is_address(name)):
            raise UsageError(f"--host {name}: expected a host's name or its IP address")
    return list(names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _signed(names: list[str]) -> dict[str, bytes]:
    """The files' contents: a new authority, and what it signs before its key is forgotten."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID
    except ImportError as error:
        raise UsageError("making certificates needs a package more: pip install 'corpusdiff[tls]'") from error

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certificate("corpusdiff certificate authority", ca_key, None, None)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_usage(signs_certificates=True), critical=True)
    ca_cert = _sign(ca, ca_key)

    leaf = _certificate("corpusdiff", key, ca_cert, ca_key)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs_certificates=False), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = leaf.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)

    pem = serialization.Encoding.PEM
    return {
        CA: ca_cert.public_bytes(pem),
        CERT: _sign(leaf, ca_key).public_bytes(pem),
        KEY: key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }


def _certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: Certificate | None, issuer_key: EllipticCurvePrivateKey | None
) -> CertificateBuilder:
    """A certificate of a key that is not yet signed, by itself where there is no issuer."""
    from cryptography import x509

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signer = (issuer_key or key).public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=_SKEW_DAYS))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(certificate: CertificateBuilder, key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    return certificate.sign(key, hashes.SHA256())


def _general_name(name: str) -> GeneralName:
    from cryptography import x509

    return x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)
