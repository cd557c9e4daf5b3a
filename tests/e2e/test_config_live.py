# SPDX-License-Identifier: ISC
"""Changing the configuration under waiting mail: what would move, taking it over, and back again."""
import json
import os
import stat

import pytest

from lib.mail import message


@pytest.fixture
def site(make):
    """Three messages wait for `isp`, which is slow for all of them."""
    class Site:
        pass
    s = Site()
    s.isp, s.ses = make.peer(), make.peer()
    for peer in (s.isp, s.ses):
        peer.on["RCPT"] = "450 4.2.0 come later"
    s.waypost = w = make.waypost({"isp": s.isp.gateway(), "ses": s.ses.gateway(priority="low")},
                                 routes=[{"via": ["isp"]}])
    s.mails = [w.send(message(), rcpt=r) for r in ("a@one.test", "b@one.test", "c@two.test")]
    for mail in s.mails:
        w.await_event("deferred", id=mail)
    return s


def candidate(site, **changes):
    file = site.waypost.dir / "new.yaml"
    file.write_text(json.dumps({**site.waypost.conf, **changes}, indent=1))
    file.chmod(0o600)
    return str(file)


# ---- What would move ----

def test_nothing_moves(site):
    said = site.waypost.run("config", "diff", "--live", candidate(site), check=0).out
    assert "3 of 3 waiting recipients go as before" in said


def test_what_would_go_another_way_is_counted_with_an_example(site):
    file = candidate(site, routes=[{"to": ["*@one.test"], "via": ["ses"]}, {"via": ["isp"]}])
    said = site.waypost.run("config", "diff", "--live", file, check=0).out
    assert "1 of 3 waiting recipients goes as before" in said and "from isp to ses" in said
    assert any(mail in said for mail in site.mails[:2])
    value = json.loads(site.waypost.run("config", "diff", "--live", file, "--json", check=0).out)
    assert (value["recipients"], value["same"], value["stranded"]) == (3, 1, 0)
    assert [(m["from"], m["to"], m["recipients"]) for m in value["moves"]] == [("isp", "ses", 2)]
    # Nothing was taken over.
    assert site.waypost.json("route", "show")["routes"][0]["via"][0]["gateway"] == "isp"


def test_what_would_have_no_way_is_told_and_is_the_status(site):
    gateways = {**site.waypost.conf["gateways"]}
    gateways["isp"] = {**gateways["isp"], "enabled": False}
    done = site.waypost.run("config", "diff", "--live", candidate(site, gateways=gateways))
    assert done.returncode == 1 and "3 of isp would have no way" in done.out


def test_secrets_of_the_candidate_are_not_needed(site):
    gateways = {**site.waypost.conf["gateways"], "new": {"url": "smtp://me@new.test", "priority": 1}}
    text = json.dumps({**site.waypost.conf, "gateways": gateways, "routes": []}, indent=1)
    file = site.waypost.dir / "new.yaml"
    file.write_text(text.replace('"priority": 1', '"priority": 1, "password": !file /nonexistent'))
    value = json.loads(site.waypost.run("config", "diff", "--live", str(file), "--json", check=0).out)
    assert [(m["from"], m["to"], m["recipients"]) for m in value["moves"]] == [("isp", "new", 3)]


def test_a_large_candidate_fits(site):
    file = candidate(site, routes=[{"to": [f"*@d{i}.test"], "via": ["ses"]} for i in range(1900)] + [{"via": ["isp"]}])
    assert os.path.getsize(file) > 130_000
    assert "3 of 3" in site.waypost.run("config", "diff", "--live", file, check=0).out


def test_a_candidate_with_mistakes(site):
    done = site.waypost.run("config", "diff", "--live", candidate(site, gatewais={}))
    assert done.returncode == 78 and "did you mean `gateways`" in done.err
    assert site.waypost.run("config", "diff", "--live", "/nonexistent").returncode == 66


# ---- Taking over, and back ----

def test_apply_then_back_and_forward_again(site):
    w = site.waypost
    old = w.file.read_text()
    file = candidate(site, queue={"retry": ["2m"]})
    new = open(file).read()
    done = w.run("config", "apply", file, check=0)
    assert "queue" in done.out and "is in force" in done.out and w.file.read_text() == new
    assert "queue" in w.run("config", "rollback", check=0).out
    assert w.file.read_text() == old
    w.run("config", "rollback", check=0)
    assert w.file.read_text() == new
    kept = [f for f in os.listdir(w.conf["spool"]) if f.startswith("config.")]
    assert sorted(kept) == ["config.before", "config.now"]
    for f in kept:
        assert stat.S_IMODE(os.stat(f"{w.conf['spool']}/{f}").st_mode) == 0o600


def test_rollback_after_a_plain_reload_and_a_restart(site):
    w = site.waypost
    old = w.file.read_text()
    w.conf["queue"] = {"retry": ["3m"]}
    w.write()
    w.run("reload", check=0)
    w.stop()
    w.start()
    w.run("config", "rollback", check=0)
    assert w.file.read_text() == old


def test_rollback_keeps_what_was_edited_and_never_in_force(site):
    w = site.waypost
    old = w.file.read_text()
    w.file.write_text(old.replace("{", '{"oops": 1,', 1))
    assert w.run("reload").returncode == 78
    done = w.run("config", "rollback", check=0)
    assert ".edited" in done.err and w.file.read_text() == old
    assert "oops" in (w.dir / "waypost.yaml.edited").read_text()


def test_without_an_earlier_one(site):
    done = site.waypost.run("config", "rollback")
    assert done.returncode == 69 and "no earlier configuration" in done.err


def test_apply_refuses_what_has_mistakes(site):
    w = site.waypost
    old = w.file.read_text()
    file = candidate(site, gatewais={})
    done = w.run("config", "apply", file)
    assert done.returncode == 78 and "nothing was changed" in done.err and w.file.read_text() == old
    assert f"these lines are those of {file}" in done.err
