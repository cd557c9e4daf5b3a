# SPDX-License-Identifier: ISC
"""`waypost setup PROGRAM`: what it says to write into a program's settings is right, as that program itself shows."""
import re
import shutil
import subprocess

import pytest

from lib.mail import from_token, message, name_of


@pytest.fixture
def site(make):
    class Site:
        pass
    s = Site()
    s.peer = make.peer()
    s.waypost = make.waypost({"isp": s.peer.gateway()})
    return s


def told(site, program):
    """The lines to write, without the heading and the name of the file."""
    said = site.waypost.run("setup", program, check=0).out
    return [line.strip() for line in said.splitlines()[2:] if line.startswith("  ")]


def test_every_program_is_told_a_port_that_answers(site):
    listed = site.waypost.run("setup", "nothing-like-it")
    assert listed.returncode == 64
    programs = re.findall(r"^  ([a-z-]+) +\S", listed.err + listed.out, re.M)
    assert {"thunderbird", "evolution", "kmail", "claws", "geary", "mutt", "git", "msmtp", "s-nail", "aerc"} <= set(programs)
    for program in programs:
        said = site.waypost.run("setup", program, check=0).out
        assert str(site.waypost.port) in said or "sendmail" in said or program == "scanner", said
        assert "@HOST@" not in said and "@PORT@" not in said
    assert "did you mean `thunderbird`" in site.waypost.run("setup", "thunderbrid").err


@pytest.mark.skipif(shutil.which("msmtp") is None, reason="no msmtp")
def test_msmtp_sends_with_what_it_is_told(site, tmp_path):
    settings = tmp_path / "msmtprc"
    settings.write_text("\n".join([*told(site, "msmtp"), "from me@client.test", ""]))
    settings.chmod(0o600)
    sent = message()
    subprocess.run(["msmtp", "-C", settings, "you@sink.test"], input=sent, check=True, timeout=30)
    assert from_token(site.peer.await_message(name_of(sent)).data) == sent


@pytest.mark.skipif(shutil.which("s-nail") is None, reason="no s-nail")
def test_s_nail_sends_with_what_it_is_told(site, tmp_path):
    settings = tmp_path / "mailrc"
    settings.write_text("\n".join(["set v15-compat", "set from=me@client.test", *told(site, "s-nail"), ""]))
    subprocess.run(["s-nail", "-s", "a subject of its own", "you@sink.test"], input=b"hello\n", check=True, timeout=30,
                   env={"MAILRC": str(settings), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "S_NAIL_NO_SYSTEM_RC": "1"})
    m = site.peer.await_message()
    assert m.rcpts == ["you@sink.test"] and b"a subject of its own" in m.data


def test_git_is_told_settings_it_has(site, tmp_path):
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for line in told(site, "git"):
        done = subprocess.run(line.split(), env=env, capture_output=True)
        assert done.returncode == 0 or "--unset" in line, done.stderr
    got = subprocess.run(["git", "config", "--global", "sendemail.smtpServerPort"], env=env, capture_output=True, text=True)
    assert got.stdout.strip() == str(site.waypost.port)
