"""Hosts files, what is said to a host's shell, and both ends of the connection to one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from fault_runs import TESTS, process_table, wait_for

from corpusdiff.cli.group import main
from corpusdiff.cluster.hosts_file import Host, read_hosts
from corpusdiff.cluster.hosts_links import HostLink, remote_command, ssh_command
from corpusdiff.cluster.hosts_remote import MARK, Settings
from corpusdiff.errors import UsageError

#: The far end, with a silence of its own.
REMOTE = """
import subprocess
import sys
from corpusdiff.cluster.hosts_remote import MARK, Settings, keep_workers
keep_workers(Settings("tcp://127.0.0.1:9", 2, "here", spool=sys.argv[1]), sys.argv[1], float(sys.argv[2]))
"""


def test_a_hosts_file_is_read(tmp_path):
    """Comments and empty lines are skipped; what is not said is the driver's."""
    file = tmp_path / "hosts"
    file.write_text("# ours\n\nnode1\nme@node-2.example workers=8 python=venv/bin/python # big\n::1 address=10.0.0.3\n")
    assert read_hosts(str(file)) == [
        Host("node1", None, sys.executable, None),
        Host("me@node-2.example", 8, "venv/bin/python", None),
        Host("::1", None, sys.executable, "10.0.0.3"),
    ]


def test_the_example_hosts_file_is_read():
    """That of the page on hosts."""
    hosts = read_hosts(str(TESTS.parent / "deploy" / "hosts" / "hosts.txt"))
    assert len(hosts) == 3
    assert {host.workers for host in hosts} == {None, 16, 64}


@pytest.mark.parametrize(
    "line",
    [
        "node;reboot",
        "-oProxyCommand=touch",
        "node$(id)",
        "node python=/bin/sh;id",
        "node python=-c",
        "node python='a b'",
        "node workers=0",
        "node workers=many",
        "node workers=2 workers=3",
        "node address=-h",
        "node address=`id`",
        "node shell=/bin/sh",
        "node node2",
        "a@b@c",
        "node\u2028x",
        "nöde",
    ],
)
def test_a_line_that_is_no_host_is_refused_with_its_number(tmp_path, line):
    """Nothing that a shell or SSH could take for more than a name gets through."""
    file = tmp_path / "hosts"
    file.write_text(f"fine\n{line}\n")
    with pytest.raises(UsageError, match=r"line 2: .*expected `HOST \[workers=N\]"):
        read_hosts(str(file))


def test_a_file_without_hosts_or_with_one_twice_is_refused(tmp_path):
    """Also one that is not there."""
    file = tmp_path / "hosts"
    with pytest.raises(UsageError, match="one host on each line"):
        read_hosts(str(file))
    file.write_text("# none\n")
    with pytest.raises(UsageError, match="names no host"):
        read_hosts(str(file))
    file.write_text("a\nb\na workers=2\n")
    with pytest.raises(UsageError, match="line 3: a is there already"):
        read_hosts(str(file))


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "tcsh", "fish", "zsh"])
def test_no_login_shell_changes_what_is_run(tmp_path, shell):
    """Quotes, dollars and spaces of the settings arrive as they were, whatever shell the host's user has."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} not installed")
    out = tmp_path / "out"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$GREETING" > {out}\n')
    program.chmod(0o755)
    settings = Settings("tcp://h:1", 2, "h", spool="/a 'b' \"c\" $HOME `id` \\ !")
    command = remote_command(Host("h", python=str(program)), settings, ("GREETING='it is $5'", "export GREETING"))
    assert os.spawnvp(os.P_WAIT, shell, [shell, "-c", command]) == 0
    assert out.read_text().splitlines() == ["-m", "corpusdiff.cluster.hosts_remote", settings.to_json(), "it is $5"]


@pytest.mark.parametrize("silence_s", [60.0, 2.0])
def test_a_host_ends_its_workers_when_the_driver_is_gone_or_silent(tmp_path, silence_s):
    """With the end of stdin at once; with silence after its time; heartbeats keep them."""
    with subprocess.Popen(
        [sys.executable, "-c", REMOTE, str(tmp_path), str(silence_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as loop:
        assert loop.stdout.readline() == MARK.encode() + b'{"ready": 2}\n'

        def workers():
            return [process for process in process_table() if process.parent == loop.pid]

        beaten_until = time.monotonic() + 3
        while time.monotonic() < beaten_until:
            loop.stdin.write(b".")
            loop.stdin.flush()
            time.sleep(0.2)
            assert loop.poll() is None, "heartbeats came, and it ended"
        wait_for(lambda: len(workers()) == 2, "two workers")
        pids = {process.pid for process in workers()}
        silent_since = time.monotonic()
        if silence_s > 10:
            loop.stdin.close()
        assert loop.wait(30) == 0
        assert not pids & {process.pid for process in process_table()}
        assert silence_s > 10 or time.monotonic() - silent_since > 1.5


def test_a_connection_that_breaks_within_a_line_is_made_again(tmp_path, monkeypatch):
    """What SSH brought of a line is no message, and its end no reason to give the host up."""
    script = tmp_path / "ssh"
    script.write_text(
        f"#!/bin/sh\necho welcome\nif mkdir {tmp_path}/first; then printf '{MARK}{{\"rea'; exit 255; fi\n"
        f"echo '{MARK}{{\"ready\": 3}}'\nexec cat > {tmp_path}/heard\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("CORPUSDIFF_SSH", str(script))
    notices = []
    link = HostLink(Host("node"), "true", notices.append)
    wait_for(lambda: link.n_workers == 3, "the second connection")
    link.beat()
    link.quit()
    link.hang_up()
    link.join(10)
    assert (tmp_path / "heard").read_bytes() == b".q"
    assert notices == ["host node is back, with 3 workers"]


def test_an_ssh_command_that_is_none_is_refused(monkeypatch):
    """With the variable's name."""
    monkeypatch.setenv("CORPUSDIFF_SSH", "ssh -F 'config")
    with pytest.raises(UsageError, match="CORPUSDIFF_SSH is"):
        ssh_command()


def test_the_page_shows_what_there_is(tmp_path):
    """Its hosts file is read, and its commands and options are the command line's."""
    page = (TESTS.parent / "deploy" / "hosts" / "README.md").read_text()
    (tmp_path / "hosts").write_text(re.search(r"<<'END'\n(.*?)END\n", page, re.DOTALL)[1])
    assert [host.workers for host in read_hosts(str(tmp_path / "hosts"))] == [None, 16, 64]
    lines = re.findall(r"^corpusdiff (.*)$", page, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        name, *words = shlex.split(line)
        main.commands[name].make_context(name, words, resilient_parsing=True)
    options = re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)
    assert len(options) > 3
    known = {option for parameter in main.commands["run"].params for option in parameter.opts}
    assert set(options) <= known
