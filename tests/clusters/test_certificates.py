"""Folders of certificates: made once, for their owner alone, and looked at before they are used."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from corpusdiff.cluster import tls
from corpusdiff.cluster.tls import CA, CERT, KEY, make_certificates, security
from corpusdiff.errors import UsageError


@pytest.fixture
def certificates(tmp_path):
    """Two folders of certificates: ours, and those of somebody else."""
    return [make_certificates(str(tmp_path / name)) for name in ("ours", "others")]


def test_certificates_hold_for_years_and_for_the_names_given(tmp_path):
    """The key is its owner's alone, the authority's is not kept, and hosts' names and addresses are in."""
    folder = make_certificates(str(tmp_path / "deep" / "tls"), ["node1", "10.0.0.7", "fd00::7"])
    assert sorted(path.name for path in folder.iterdir()) == [CA, CERT, KEY]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    ca, cert = (x509.load_pem_x509_certificate((folder / name).read_bytes()) for name in (CA, CERT))
    cert.verify_directly_issued_by(ca)
    for each in (ca, cert):
        assert each.not_valid_after_utc > datetime.now(UTC) + timedelta(days=4 * 365)
        assert each.not_valid_before_utc < datetime.now(UTC) - timedelta(days=1), "hosts' clocks may be behind"
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"node1", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"10.0.0.7", "fd00::7", "127.0.0.1"} <= {str(each) for each in names.get_values_for_type(x509.IPAddress)}
    assert len(os.listdir(folder.parent)) == 1  # noqa: PTH208  # hidden ones too
    context = security(str(folder)).get_connection_args("worker")["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_certificates_are_never_overwritten(tmp_path):
    """Not one byte of a folder that has anything in it, nor of what a link points at."""
    folder = make_certificates(str(tmp_path / "tls"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="never overwritten. Name a new folder"):
        make_certificates(str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(UsageError, match="never overwritten"):
        make_certificates(str(tmp_path / "link"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made in"):
        make_certificates(str(tmp_path / "file" / "tls"))
    make_certificates(str(tmp_path / "empty"))
    security(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["a b", "node;id", "-x", "*.example.org", "", "a" * 64])
def test_what_is_no_host_is_not_put_into_a_certificate(tmp_path, name):
    """Names are names, addresses addresses."""
    with pytest.raises(UsageError, match="expected a host's name or its IP address"):
        make_certificates(str(tmp_path / "tls"), [name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [CA, CERT, KEY])
def test_a_missing_file_is_named(certificates, name):
    """With the command that makes it."""
    ours, _ = certificates
    (ours / name).unlink()
    with pytest.raises(UsageError, match=rf"lacks {name}: .*`corpusdiff certificates"):
        security(str(ours))


def test_a_folder_that_is_none_is_said(tmp_path):
    """With the command that makes it."""
    with pytest.raises(UsageError, match=r"is no folder: .*`corpusdiff certificates"):
        security(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_use_is_refused(certificates, mode):
    """As SSH does it."""
    ours, _ = certificates
    (ours / KEY).chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        security(str(ours))


@pytest.mark.parametrize("name", [CA, CERT, KEY])
def test_files_of_two_authorities_are_refused(certificates, name):
    """They would fail on the first link, with less to go by."""
    ours, others = certificates
    shutil.copy(others / name, ours / name)
    with pytest.raises(UsageError, match="do not make an encrypted link"):
        security(str(ours))


def test_expired_certificates_are_refused(tmp_path, monkeypatch):
    """With the reason in OpenSSL's words."""
    monkeypatch.setattr(tls, "VALID_DAYS", -1)
    folder = make_certificates(str(tmp_path / "tls"))
    with pytest.raises(UsageError, match=r"\(certificate has expired\): look at this host's clock"):
        security(str(folder))


def test_a_file_that_is_no_certificate_is_refused(certificates):
    """An empty one, or rubbish."""
    for content in ("", "rubbish"):
        (certificates[0] / CA).write_text(content)
        with pytest.raises(UsageError, match="do not make an encrypted link"):
            security(str(certificates[0]))
