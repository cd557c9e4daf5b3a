# SPDX-License-Identifier: ISC
"""The units under a real systemd: started with the machine, confined, reloaded, killed and started again."""
import json
import pathlib
import re
import socket

import pytest

from lib.peer import Peer
from lib.systemd import Machine, missing
from lib.wait import PATIENCE, until
from lib.waypost import BINARY, ROOT

WHY_NOT = missing()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""), pytest.mark.slow]
FILE = "/etc/waypost/waypost.yaml"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    m = Machine(tmp_path_factory.mktemp("machine"))
    try:
        m.boot()
        m.write("/usr/local/bin/waypost", pathlib.Path(BINARY).read_bytes(), 0o755)
        for unit in ("waypost.service", "waypost.socket"):
            text = (ROOT / "packaging" / unit).read_text().replace("@bindir@", "/usr/local/bin")
            m.write(f"/etc/systemd/system/{unit}", text)
        m.write("/usr/lib/sysusers.d/waypost.conf", (ROOT / "packaging" / "waypost.sysusers").read_text())
        m.run("systemd-sysusers", check=0)
        yield m
    finally:
        m.close()


@pytest.fixture
def installed(machine):
    """Waypost as a service that starts with the machine, with one gateway; the service is gone afterwards."""
    with machine.network:
        upstream = Peer()
    machine.write(FILE, json.dumps({
        "listeners": {"local": {"address": ["127.0.0.1:25"]}},
        "gateways": {"p": {**upstream.gateway(), "url": f"smtp://me@127.0.0.1:{upstream.port}", "auth_in_clear": True,
                           "password": {"credential": "isp"}}},
        "queue": {"retry": ["1s"]}}).replace('{"credential": "isp"}', "!credential isp"), 0o640)
    machine.run("chgrp", "-R", "waypost", "/etc/waypost", check=0)
    machine.write("/etc/waypost/isp.pw", "s3cret\n", 0o600)
    machine.write("/etc/systemd/system/waypost.service.d/isp.conf",
                  "[Service]\nLoadCredential=isp:/etc/waypost/isp.pw\n")
    upstream.ehlo.append("AUTH PLAIN")
    upstream.on["AUTH"] = "235 2.7.0 welcome"
    machine.run("systemctl", "daemon-reload", check=0)
    machine.run("systemctl", "enable", "--now", "waypost", check=0)
    yield upstream
    machine.run("systemctl", "disable", "--now", "waypost", "waypost.socket")
    machine.run("rm", "-rf", "/var/lib/waypost", "/etc/waypost", "/etc/systemd/system/waypost.service.d",
                "/etc/systemd/system/waypost.socket.d", check=0)
    upstream.stop()


def send(machine, name, *more):
    machine.run("waypost", "send", "-s", name, *more, "you@example.org", input=b"a mail\n", check=0)


def test_it_starts_and_mail_goes_with_a_password_of_the_service_manager(machine, installed):
    assert machine.show("waypost", "ActiveState") == "active"
    send(machine, "hello")
    until("the mail", lambda: installed.kept)
    assert any(c.startswith(b"AUTH") for c in installed.kept[0].session.commands)
    # Nothing it says of itself at the start is a complaint.
    assert not re.search(r"warning|error|denied|not permitted", machine.journal(), re.I), machine.journal()


def test_it_is_confined(machine, installed):
    pid = machine.show("waypost", "MainPID")
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").out.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["Uid"].split()[0] == machine.run("id", "-u", "waypost").out.strip() != "0"
    assert int(status["CapEff"], 16) == 1 << 10, "CAP_NET_BIND_SERVICE alone"


def test_a_reload_by_the_service_manager(machine, installed):
    pid = machine.show("waypost", "MainPID")
    text = machine.run("cat", FILE).out
    machine.write(FILE, text.replace('"p":', '"q":'), 0o644)
    machine.run("systemctl", "reload", "waypost", check=0)
    assert machine.show("waypost", "MainPID") == pid
    assert [g["name"] for g in json.loads(machine.run("waypost", "status", "--json").out)["gateways"]][0] == "q"
    machine.write(FILE, text.replace('"p":', '"p": nonsense,'), 0o644)
    refused = machine.run("systemctl", "reload", "waypost")
    assert refused.returncode != 0 and machine.show("waypost", "ActiveState") == "active"
    assert "waypost.yaml:" in machine.journal(), "the journal says where the fault is"


def test_killed_it_comes_back_with_its_mail(machine, installed):
    installed.on["RCPT"] = "450 4.2.0 come later"
    send(machine, "kept", "--no-wait")
    pid = machine.show("waypost", "MainPID")
    machine.run("systemctl", "kill", "-s", "KILL", "waypost", check=0)
    until("another process", lambda: machine.show("waypost", "MainPID") not in ("0", pid)
          and machine.show("waypost", "ActiveState") == "active")
    del installed.on["RCPT"]
    until("the mail", lambda: installed.kept)


def test_it_starts_with_the_machine(machine, installed):
    installed.on["RCPT"] = "450 4.2.0 come later"
    send(machine, "kept", "--no-wait")
    machine.reboot()
    assert machine.show("waypost", "ActiveState") == "active"
    del installed.on["RCPT"]
    until("the mail of before", lambda: installed.kept)


def test_it_ends_in_order(machine, installed):
    machine.run("systemctl", "stop", "waypost", check=0)
    assert machine.show("waypost", "Result") == "success"


def test_a_confined_service_can_send(machine, installed):
    """One that may not gain rights and has a user made up for it, by the sendmail command."""
    machine.run("ln", "-sf", "/usr/local/bin/waypost", "/usr/sbin/sendmail", check=0)
    machine.write("/tmp/mail", "From: job@example.org\nTo: you@example.org\nSubject: from a service\n\nhello\n")
    machine.write("/etc/systemd/system/job.service",
                  "[Service]\nType=oneshot\nDynamicUser=yes\nNoNewPrivileges=yes\nStandardInput=file:/tmp/mail\n"
                  "ExecStart=/usr/sbin/sendmail -t -i\n")
    machine.run("systemctl", "daemon-reload", check=0)
    machine.run("systemctl", "start", "job", check=0)
    until("the mail", lambda: installed.kept)
    assert b"Subject: from a service" in installed.kept[0].data


def test_the_service_manager_opens_the_ports(machine, installed):
    """Then the daemon needs no capability, and a client that comes while it starts is not refused."""
    machine.write("/etc/systemd/system/waypost.service.d/ports.conf",
                  "[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    machine.write("/etc/systemd/system/waypost.socket.d/one.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:25\n")
    machine.run("systemctl", "daemon-reload", check=0)
    machine.run("systemctl", "stop", "waypost", check=0)
    machine.run("systemctl", "start", "waypost.socket", check=0)
    machine.run("systemctl", "start", "waypost", check=0)
    status = machine.run("cat", f"/proc/{machine.show('waypost', 'MainPID')}/status", check=0).out
    assert re.search(r"CapEff:\s*0+$", status, re.M)
    with machine.network, socket.create_connection(("127.0.0.1", 25), timeout=PATIENCE) as s:
        assert s.recv(512).startswith(b"220 ")


def test_a_wrong_configuration_is_not_tried_again(machine, installed):
    text = machine.run("cat", FILE).out
    machine.write(FILE, text.replace('"p":', '"p": nonsense,'), 0o644)
    machine.run("systemctl", "stop", "waypost", check=0)
    assert machine.run("systemctl", "start", "waypost").returncode != 0
    until("the end of it", lambda: machine.show("waypost", "ActiveState") == "failed")
    assert machine.show("waypost", "ExecMainStatus") == "78" and "1 error" in machine.journal()
