"""Encrypted links: who has other certificates, or none, is refused; what goes over the wire cannot be read."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import pytest
from distributed import Client
from fault_runs import TESTS, Run, checked, make_recordings, process_table, same_corpus, wait_for
from fault_table import record
from needs import needs
from netns_hosts import netns_hosts

from corpusdiff.cluster.tls import CA, CERT, KEY, make_certificates, security

#: How long a scheduler may take to refuse somebody, in seconds.
REFUSAL_S = 3

#: Tracks wait until a file is there.
HELD = """
import os, time
def held(track):
    while not os.path.exists("{flag}"):
        time.sleep(0.02)
"""

#: Linux's number for all protocols.
ETH_P_ALL = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Recordings, and what the serial runner makes of them."""
    folder = tmp_path_factory.mktemp("tls")
    source = make_recordings(folder / "recordings")
    with Run(source, folder / "reference", "--cluster", "none") as run:
        assert run.finish() == 0, run.said
    return source, folder / "reference"


@pytest.fixture
def certificates(tmp_path):
    """Two folders of certificates: ours, and those of somebody else."""
    return [make_certificates(str(tmp_path / name)) for name in ("ours", "others")]


def refused(address, **options):
    """Why a client of a scheduler is refused."""
    with pytest.raises((OSError, TimeoutError, ValueError)) as found:
        Client(address, timeout=REFUSAL_S, set_as_default=False, **options).close()
    return str(found.value)


def assert_closed_to_others(address, ours, others):
    """A scheduler speaks TLS only, and only to those whom its authority has signed."""
    Client(address, timeout=60, set_as_default=False, security=security(str(ours))).close()
    plain = address.replace("tls://", "tcp://")
    refused(plain)
    refused(address, security=security(str(others)))
    host, port = address.removeprefix("tls://").rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port)), timeout=REFUSAL_S) as connection:
        try:
            with context.wrap_socket(connection) as link:  # TLS 1.3 refuses after the client's handshake
                said = link.recv(1)
        except ssl.SSLError:
            said = b""
    assert not said, "the scheduler speaks to a client without a certificate"


@contextmanager
def overheard(interface, word):
    """A list that gets the number of network frames, and of those that hold a word, when the block ends."""
    counts = []
    done = threading.Event()

    def listen():
        n_frames = n_found = 0
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
            wire.bind((interface, 0))
            wire.settimeout(0.1)
            while not done.is_set():
                with suppress(TimeoutError):
                    n_found += word in wire.recv(1 << 16)
                    n_frames += 1
        counts.extend((n_frames, n_found))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield counts
    finally:
        done.set()
        thread.join()


@needs("ip", "ssh", "sshd", "ssh-keygen", root=True)
@pytest.mark.faults_short
def test_hosts_with_tls_make_the_same_corpus_and_let_nobody_else_in(corpus, certificates, tmp_path, monkeypatch):
    """While the run goes on, a plain client and one of another authority are refused; and nothing is readable."""
    source, reference = corpus
    ours, others = certificates
    (tmp_path / "net").mkdir()
    flag = tmp_path / "go"
    (tmp_path / "holding.py").write_text(HELD.format(flag=flag))
    hook = f"export CORPUSDIFF_TEST_HOOK=holding:held PYTHONPATH={TESTS}:{tmp_path}"
    with netns_hosts(tmp_path / "net", n=2) as hosts:
        file = hosts.file(tmp_path / "hosts", "workers=1")
        plain = ("--cluster", f"hosts:{file}")
        encrypted = (*plain, "--tls", str(ours))
        env = {"CORPUSDIFF_SSH": hosts.ssh}
        run = Run(source, tmp_path / "out", *encrypted, "--prologue", hook, env=env)
        with run, overheard(hosts[0].link.bridge, b"corpusdiff") as counts:
            wait_for(lambda: "scheduler at" in run.said or run.ended, "the scheduler")
            (address,) = re.findall(r"scheduler at (tls://[0-9.]+:\d+)", run.said)
            assert_closed_to_others(address, ours, others)
            flag.touch()
            assert run.finish() == 0, run.said
        assert counts[0] > 100
        assert counts[1] == 0, f"{counts[1]} of {counts[0]} frames can be read"
        same_corpus(tmp_path / "out", reference, "links encrypted")
        run = Run(source, tmp_path / "plain", *plain, "--limit", "12", env=env)
        with run, overheard(hosts[0].link.bridge, b"corpusdiff") as counts:
            assert run.finish() == 0, run.said
        assert counts[1] > 0, "the word is not heard on a link that is not encrypted either"
        # The far end checks the certificates that it finds there.
        wrapper = tmp_path / "python"
        wrapper.write_text(f'#!/bin/sh\nmv {ours} {tmp_path}/away\nexec {sys.executable} "$@"\n')
        wrapper.chmod(0o755)
        hosts.file(tmp_path / "hosts", "workers=1", f"python={wrapper}")
        with Run(source, tmp_path / "none", *encrypted, env=env) as run:
            assert run.finish() == 2, run.said
            assert f"host {hosts[0].name}: --tls {ours} is no folder" in run.said
            assert "copy the folder to every host" in run.said
    record("client of another authority, plain client", "hosts with TLS", 3, 0, "")


@contextmanager
def scheduler_and_worker(folder, certificates):
    """A real `dask scheduler` and a `dask worker` that take the folder's certificates only; the address."""
    files = {"ca-file": CA, "cert": CERT, "key": KEY}
    tls = [word for flag, name in files.items() for word in (f"--tls-{flag}", str(certificates / name))]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = f"tls://127.0.0.1:{port}"
    commands = (
        ["scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", port, "--no-dashboard"],
        [
            "worker",
            address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--memory-limit",
            "0",
            "--local-directory",
            str(folder),
        ],
    )
    processes = []
    try:
        for command in commands:
            with (folder / "log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "dask", *command, *tls],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        wait_for(lambda: "Registered to" in (folder / "log").read_text(), "the worker")
        yield address
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        leaders = {process.pid for process in processes}
        wait_for(lambda: not [process for process in process_table() if process.session in leaders], "their end")


@pytest.mark.faults_short
def test_a_tls_scheduler_that_is_there(corpus, certificates, tmp_path):
    """With its certificates the same corpus; without, or with others, a usage error that says what to do."""
    source, reference = corpus
    ours, others = certificates
    with scheduler_and_worker(tmp_path, ours) as address:
        with Run(source, tmp_path / "out", "--cluster", address, "--tls", str(ours)) as run:
            assert run.finish() == 0, run.said
        same_corpus(tmp_path / "out", reference, "a tls:// scheduler")
        with Run(source, tmp_path / "no", "--cluster", address, "--tls", str(others)) as run:
            assert run.finish() == 2, run.said
            assert "do not trust each other" in run.said
            assert "one `corpusdiff certificates` made" in run.said
            assert "Traceback" not in run.said
        with Run(source, tmp_path / "no", "--cluster", address) as run:
            assert run.finish() == 2, run.said
            assert "--tls DIR" in run.said
        with Run(source, tmp_path / "no", "--cluster", address.replace("tls://", "tcp://")) as run:
            assert run.finish() == 2, run.said
            assert "Traceback" not in run.said
        assert_closed_to_others(address, ours, others)
    assert checked(tmp_path / "out").finalised
    record("client of another authority, plain client", "tls://", 5, 0, "")
