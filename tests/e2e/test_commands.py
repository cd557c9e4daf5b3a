# SPDX-License-Identifier: ISC
"""The commands of `waypost`: as text for people, as JSON for programs, with statuses for scripts."""
import json
import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor, TimeoutError

import pytest

from lib.mail import from_token, lf, message, name_of, token
from lib.peer import CLOSE
from lib.wait import PATIENCE, until


@pytest.fixture
def site(make):
    """One message went, one is put off (`slow`)."""
    class Site:
        pass
    s = Site()
    s.sink = make.peer()
    s.sink.on["RCPT"] = lambda session, line: "450 4.2.0 come later" if b"slow" in line else None
    s.waypost = make.waypost({"isp": s.sink.gateway()})
    s.went = s.waypost.send(message(subject="gone already"))
    s.slow = s.waypost.send(message(subject="stuck here"), rcpt="slow@sink.test")
    s.waypost.await_event("relayed", id=s.went)
    s.waypost.await_event("deferred", id=s.slow)
    return s


# ---- reading ----

def test_status(site):
    w = site.waypost
    text = w.run("status", check=0).out
    assert "1 message" in text and "isp" in text and w.conf["spool"] in text
    assert " used, " in text and " reserved, " in text
    said = w.json("status")
    assert said["schema"] == 1 and said["accepting"] is True
    assert said["queue"]["messages"] == 1 and said["since_start"]["accepted"] == 2
    assert [g["name"] for g in said["gateways"]][0] == "isp"
    assert w.run("status", "-q", check=0).out == ""


def test_queue_list(site):
    w = site.waypost
    lines = w.run("queue", "list", check=0).out.splitlines()
    assert len(lines) == 2 and site.slow in lines[1] and "slow@sink.test" in lines[1]
    assert w.queue()[0]["id"] == site.slow
    assert w.run("queue", "list", "*@nowhere.test", check=0).out == "no waiting message matches\n"
    assert site.slow in w.run("queue", "slow@*", check=0).out


def test_queue_show(site):
    w = site.waypost
    text = w.run("queue", "show", site.slow, check=0).out
    assert "stuck here" in text and "come later" in text and "isp" in text and "waiting, next try in " in text
    said = w.json("queue", "show", site.slow)
    assert said["id"] == site.slow and "slow@sink.test" in json.dumps(said)
    gone = w.run("queue", "show", site.went)
    assert gone.returncode == 65 and "waypost log" in gone.err
    assert w.run("queue", "show", "!!").returncode == 64


def test_log(site):
    w = site.waypost
    text = w.run("log", check=0).out
    assert site.went in text and site.slow in text and "gone already" in text
    one = w.run("log", site.went, check=0).out
    assert "accepted" in one and "isp" in one and "250" in one
    said = w.json("log", site.went)
    assert [e["event"] for e in said["events"]] == ["accepted", "attempt"]
    assert said["events"][1]["results"][0]["code"] == 250
    assert {m["id"] for m in w.json("log")} == {site.went, site.slow}
    assert w.json("log", "--to", "slow@*")["id"] == site.slow
    assert site.went not in w.run("log", "--gateway", "nobody").out


def test_log_remembers_across_a_restart(site):
    w = site.waypost
    w.stop()
    w.start()
    assert site.went in w.run("log", check=0).out


def test_gateway_list_and_route_explain(site):
    w = site.waypost
    assert "isp" in w.run("gateway", "list", check=0).out
    assert w.json("gateway", "list")["gateways"][0]["ok"] >= 1
    assert "isp" in w.run("route", "explain", site.slow, check=0).out
    assert "isp" in w.run("route", "explain", "--from", "a@client.test", "--to", "x@y.test", check=0).out


# ---- orders ----

def test_hold_and_release(site):
    w, sink = site.waypost, site.sink
    w.run("queue", "hold", site.slow, "--reason", "looking into it", check=0)
    sink.on.clear()
    w.run("queue", "retry", "all", check=0)
    assert "looking into it" in w.run("queue", "list", check=0).out
    sent = message()
    w.send(sent)
    sink.await_message(name_of(sent))
    assert w.queue()[0]["id"] == site.slow and w.queue()[0]["state"] == "held"
    w.run("queue", "release", site.slow, check=0)
    w.await_event("relayed", id=site.slow)


def test_hold_survives_a_crash(site):
    w = site.waypost
    w.run("queue", "hold", site.slow, check=0)
    w.kill()
    w.start()
    assert [m["state"] for m in w.queue()] == ["held"]


def test_drop(site):
    w = site.waypost
    w.run("queue", "drop", site.slow, "--reason", "spam", check=0)
    assert w.queue() == []
    assert "dropped" in w.run("log", site.slow, check=0).out
    assert w.run("queue", "drop", site.slow).returncode == 65
    w.kill()
    w.start()
    assert w.queue() == []


def test_retry_now(site):
    site.sink.on.clear()
    site.waypost.run("queue", "retry", site.slow, check=0)
    site.waypost.await_event("relayed", id=site.slow)


def test_several_ids_each_have_their_answer(site):
    done = site.waypost.run("queue", "hold", site.slow, site.went, "??")
    assert done.returncode != 0 and f"{site.slow} is held" in done.out
    assert site.went in done.err and "??" in done.err


def test_unknown_words_and_usage(site):
    w = site.waypost
    done = w.run("queu", "list")
    assert done.returncode == 64 and "queue" in done.err
    assert w.run("queue", "show").returncode == 64
    assert "serve" in w.run("help", check=0).out


@pytest.mark.parametrize("typed,said", [
    (["unpin"], "waypost gateway auto"), (["gateway", "pin", "isp"], "waypost gateway use"),
    (["gateway"], "list, show, test"), (["trace", "X"], "waypost log")])
def test_what_is_no_command_is_met_with_the_one_that_was_meant(site, typed, said):
    done = site.waypost.run(*typed)
    assert done.returncode == 64 and said in done.err


def test_help_begins_with_examples_and_has_each_option_in_a_line(site):
    said = site.waypost.run("help", "gateway", "test", check=0).out
    assert said.startswith("  waypost gateway test m365") and "\n  --depth DEPTH" in said
    assert said == site.waypost.run("gateway", "test", "--help", check=0).out
    whole = site.waypost.run("help", check=0).out
    assert len(whole.splitlines()) <= 48 and "(null)" not in whole
    for family in ("gateway", "route", "queue", "config", "network"):
        assert f"waypost {family} " in site.waypost.run("help", family, check=0).out


def test_check_is_config_check(site):
    assert "is ok" in site.waypost.run("check", check=0).out


def test_a_list_says_what_a_message_waits_for(make):
    peer = make.peer()
    w = make.waypost({"far": peer.gateway(networks=["office"])}, networks={"office": {"address": ["203.0.113.0/24"]}})
    w.send(message())
    w.await_event("accepted")
    until("the list says so", lambda: "waits for far: not on network office" in w.run("queue", "list").out)
    said = until("the groups", lambda: w.json("status")["waits"])
    assert said == [{"recipients": 1, "why": "for far: not on network office", "until_ms": 0}]


def test_what_waits_for_an_allowance_says_until_when(make):
    peers = make.peer(), make.peer()
    for peer in peers:
        peer.on["DATA"] = "550 5.4.5 Daily user sending quota exceeded"
    w = make.waypost({"backup": peers[0].gateway(priority="high"), "full": peers[1].gateway()})
    ident = w.send(message())
    w.await_event("deferred", "via full", id=ident)
    until("the timeline says so", lambda: "; waits until a way opens, at " in w.run("log", ident, check=0).out)
    text = w.run("log", ident, check=0).out
    assert text.count("; takes the next way that is open") == 1 and "; again in" not in text
    said = w.run("route", "explain", ident, check=0).out
    assert "own clock" not in said and "so: waits for " in said
    shown = w.run("queue", "show", ident, check=0).out
    assert "waiting until a way opens" in shown
    # One form of the moments for people: that of the timeline.
    assert next(line for line in text.splitlines() if "accepted" in line).split()[:2] == \
        next(line for line in shown.splitlines() if "accepted" in line).split()[1:3]


def test_each_key_has_a_line_of_help(site):
    lines = site.waypost.run("config", "explain", check=0).out.splitlines()
    assert len(lines) > 50 and all(len(line.split(None, 1)) == 2 and len(line) < 130 for line in lines)


def test_a_name_that_is_not_there_is_told_once(site):
    done = site.waypost.run("probe", "no-such-host.invalid", "--timeout", "5")
    assert done.returncode == 69 and done.out.count("=> ") == 1 and "587" not in done.out


def test_help_for_a_word_of_any_length(site):
    for word in ("x" * 255, "x" * 300, "x" * 100000):
        done = site.waypost.run("help", word)
        assert done.returncode == 64 and "there is no command" in done.err, done.returncode
    assert "waypost queue list" in site.waypost.run("help", "queue", "x" * 300, check=0).out


def test_a_story_that_never_ends_is_refused(site):
    done = site.waypost.run("simulate", "/nonexistent")
    assert done.returncode == 65 and "/nonexistent: No such file" in done.err
    done = site.waypost.run("simulate", "/dev/zero")
    assert done.returncode == 65 and "larger than a story may be" in done.err, (done.returncode, done.err)


@pytest.mark.parametrize("mail,said", [
    ("count: 0", "`count` is 1 to 100000"), ("count: 99999999999", "`count` is 1"), ("count: -5", "`count` is 1"),
    ("size: 3GiB", "`size` is 1 to 256MiB"), ("size: much", "`size` is"), ("every: -1s", "`every` takes a time"),
    ("later: 99999d", "`later` takes a time"), ("class: vip", "`class` is low, normal or urgent")])
def test_a_story_with_numbers_that_make_no_sense_is_refused(site, tmp_path, mail, said):
    story = tmp_path / "story.yaml"
    story.write_text("title: t\nstory:\n  - at: 08:00\n    mail: {name: a, to: y@e.example, " + mail + "}\n")
    done = site.waypost.run("simulate", str(story))
    assert done.returncode == 65 and said in done.err and "line 4" in done.err, done.err


def test_a_story_that_expects_an_unknown_network_fails(site, tmp_path):
    story = tmp_path / "story.yaml"
    story.write_text("title: t\nstory:\n  - at: 08:00\n    expect: {holds: [offcie]}\n")
    done = site.waypost.run("simulate", str(story))
    assert done.returncode == 1 and "there is no network offcie" in done.out + done.err, done.out


def test_drop_all_says_how(site):
    assert "queue list --json" in site.waypost.run("queue", "drop", "all").err


def test_without_a_daemon_commands_say_what_to_do(make):
    w = make.waypost({}, start=False)
    done = w.run("status")
    assert done.returncode == 69 and "waypost serve" in done.err


def test_stop_ends_in_order(site):
    site.waypost.run("stop", check=0)
    assert site.waypost.process.wait(PATIENCE) == 0


# ---- configuration ----

@pytest.mark.parametrize("how", ["command", "SIGHUP"])
def test_a_good_change_is_taken_over(site, make, how):
    w = site.waypost
    other = make.peer()
    w.conf["gateways"] = {"other": other.gateway()}
    w.write()
    since = len(w.events)
    if how == "command":
        w.run("reload", check=0)
    else:
        os.kill(w.pid(), signal.SIGHUP)
    w.await_event("reloaded", since=since)
    sent = message()
    w.send(sent)
    other.await_message(name_of(sent))


@pytest.mark.parametrize("how", ["command", "SIGHUP"])
def test_a_bad_change_keeps_the_old(site, how):
    w = site.waypost
    good = w.file.read_text()
    w.file.write_text(good.replace('"gateways"', '"gatewais"'))
    if how == "command":
        done = w.run("reload")
        # The client reads the file too, to find the socket.
        assert done.returncode == 78 and "gateways" in done.err
    else:
        os.kill(w.pid(), signal.SIGHUP)
        w.await_event("reload-failed", "gatewais")
    w.file.write_text(good)
    sent = message()
    w.send(sent)
    site.sink.await_message(name_of(sent))


def test_a_change_that_needs_a_restart_says_so(site):
    w = site.waypost
    good = w.file.read_text()
    w.file.write_text(good.replace('"loops": 2', '"loops": 3'))
    done = w.run("reload")
    assert done.returncode != 0 and "restart" in done.err + done.out
    w.file.write_text(good)


def test_a_listener_moves_with_the_configuration(site):
    from lib.wait import answers, free_port
    w, port = site.waypost, free_port()
    old = w.port
    w.conf["listeners"] = {"local": {"address": [f"127.0.0.1:{port}"]}}
    w.write()
    w.run("reload", check=0)
    assert answers(port) and not answers(old)
    w.port = port
    w.send(message())


def test_sessions_under_way_live_through_a_reload(site):
    w = site.waypost
    sent = message(b"half before, half after\r\n")
    with w.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<b@sink.test>")
        c.say("DATA")
        c.send(sent[:100])
        w.run("reload", check=0)
        c.send(sent[100:] + b".\r\n")
        assert c.reply().startswith(b"250")
    site.sink.await_message(name_of(sent))


def test_a_bad_file_stops_the_start_with_line_and_caret(make):
    w = make.waypost({}, start=False)
    w.file.write_text("hostname: a.test\nspol: /tmp\n")
    done = w.run("serve")
    assert done.returncode == 78
    assert f"{w.file}:2:1" in done.err and "spool" in done.err and "^" in done.err


def test_while_the_file_has_mistakes_the_daemon_can_be_asked_and_given_mail(make):
    w = make.waypost({})
    w.conf["oops"] = 1
    w.write()
    done = w.run("status", check=0)
    assert "config check" in done.err
    w.run("send", "--test", "--no-wait", "a@example.org", check=0)
    assert "stays in force" in w.run("reload", check=78).err


def test_a_port_in_use_is_named(site, make):
    w = make.waypost({}, start=False)
    w.conf["listeners"]["local"]["address"] = [f"127.0.0.1:{site.waypost.port}"]
    w.write()
    done = w.run("serve")
    assert done.returncode == 69 and str(site.waypost.port) in done.err


def test_a_second_daemon_on_one_spool_is_refused(site, make):
    w = make.waypost({}, start=False)
    w.conf["spool"] = site.waypost.conf["spool"]
    w.write()
    done = w.run("serve")
    assert done.returncode == 69 and site.waypost.conf["spool"] in done.err


def test_config_check_says_what_it_means(site):
    done = site.waypost.run("config", "check", str(site.waypost.file), check=0)
    assert "isp" in done.out
    bad = site.waypost.dir / "bad.yaml"
    bad.write_text("networks: {office: {subnet: 10.0.0.0/8}, vpn: {interface: wg0}}\n"
                   "gateways: {isp: {url: a.example, tls: off, networks: [vpn]}}\nroutes: [{via: isp}]\n")
    said = site.waypost.run("config", "check", str(bad), check=0).out
    assert "a.example:25  no TLS, priority 30, only on vpn\n" in said and f"waypost route lint {bad}\n" in said
    bad.write_text("queue: {retry: never}\n")
    assert site.waypost.run("config", "check", str(bad)).returncode == 78


def test_secrets_are_shown_nowhere(make):
    p = make.peer()
    w = make.waypost({"p": {"url": f"smtp://carol@127.0.0.1:{p.port}", "tls": "off", "password": "hush-hush",
                            "auth_in_clear": True}})
    w.send(message())
    until("an attempt", lambda: p.sessions)
    for command in (["status", "--json"], ["gateway", "list", "--json"], ["log"], ["config", "check"]):
        done = w.run(*command)
        assert "hush-hush" not in done.out + done.err
    assert "hush-hush" not in w.tail(1000)
    command_line = open(f"/proc/{w.pid()}/cmdline").read() + open(f"/proc/{w.pid()}/environ").read()
    assert "hush-hush" not in command_line


# ---- sendmail ----

@pytest.fixture
def sendmail(site):
    """Runs the program by the name sendmail, mailq or newaliases."""
    w = site.waypost

    def run(*args, input=b"", name="sendmail", check=0):
        link = w.dir / name
        if not link.exists():
            link.symlink_to(w.binary)
        return w.run(*args, program=str(link), input=input, check=check)
    return run


def test_sendmail_hands_in(site, sendmail):
    sent = message(b"by sendmail\r\n.x\r\n")
    sendmail("-f", "me@client.test", "b@sink.test", "c@sink.test", input=lf(sent))
    m = site.sink.await_message(name_of(sent))
    assert (m.sender, m.rcpts) == ("me@client.test", ["b@sink.test", "c@sink.test"])
    assert from_token(m.data) == sent


def test_sendmail_t_takes_recipients_from_the_header_and_bcc_out(site, sendmail):
    name = token()
    sendmail("-t", "-oi", input=f"X-Token: {name}\nTo: B <b@sink.test>,\n c@sink.test\nBcc: d@sink.test\nSubject: s\n\n.\nx\n".encode())
    m = site.sink.await_message(name)
    assert sorted(m.rcpts) == ["b@sink.test", "c@sink.test", "d@sink.test"]
    assert b"Bcc" not in m.data and b"d@sink.test" not in m.data
    assert m.data.endswith(b"\r\n\r\n.\r\nx\r\n")
    assert b"\r\nDate: " in m.data and b"\r\nMessage-ID: <" in m.data and b"\r\nFrom: " in m.data


def test_sendmail_ends_at_a_lone_dot_without_i(site, sendmail):
    name = token()
    sendmail("b@sink.test", input=f"X-Token: {name}\n\nbefore\n.\nafter\n".encode())
    assert site.sink.await_message(name).data.endswith(b"before\r\n")


def test_sendmail_while_the_daemon_is_down_is_sent_at_its_start(site, sendmail):
    w = site.waypost
    w.stop()
    sent = message(b"dropped\r\n")
    sendmail("-f", "me@client.test", "-oi", "b@sink.test", input=lf(sent))
    drop = [f for f in os.listdir(w.conf["spool"] + "/drop") if f not in ("tmp", "bad")]
    assert len(drop) == 1
    assert not os.stat(f"{w.conf['spool']}/drop/{drop[0]}").st_mode & (stat.S_IWGRP | stat.S_IRWXO)
    w.start()
    m = site.sink.await_message(name_of(sent))
    assert m.sender == "me@client.test" and from_token(m.data) == sent
    until("the drop is empty", lambda: not [f for f in os.listdir(w.conf["spool"] + "/drop") if f not in ("tmp", "bad")])


def test_sendmail_bs_speaks_smtp(site, sendmail):
    sent = message(b"piped\r\n")
    said = sendmail("-bs", input=b"EHLO x\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\n" + sent + b".\r\nQUIT\r\n")
    assert said.out.splitlines()[-1].startswith("221")
    site.sink.await_message(name_of(sent))


@pytest.mark.parametrize("rcpt", ["a@b\r\nDATA\r\n", "a@b\nx@y z", "not an address@", "a@b@c", ""])
def test_sendmail_refuses_what_is_no_address(site, sendmail, rcpt):
    accepted = len(site.waypost.find("accepted"))
    done = sendmail("-f", "a@client.test", "--", rcpt, input=b"Subject: x\n\nx\n", check=None)
    assert done.returncode in (64, 65, 67)
    assert len(site.waypost.find("accepted")) == accepted


def test_sendmail_says_what_was_refused(site, sendmail):
    w = site.waypost
    done = sendmail("-f", "a@client.test", "x@" + "l" * 70 + ".test", input=b"Subject: x\n\nx\n", check=None)
    assert done.returncode != 0 and "sendmail:" in done.err


def test_mailq_and_newaliases(site, sendmail):
    said = sendmail(name="mailq").out
    assert site.slow in said and "slow@sink.test" in said
    assert site.slow in sendmail("-bp").out
    assert site.slow in sendmail("-j", name="mailq").out
    sendmail(name="newaliases")


def test_send_follows_the_message(site):
    done = site.waypost.run("send", "-f", "a@client.test", "-s", "hello", "b@sink.test", input=b"text\n", check=0)
    assert "isp" in done.out
    assert site.waypost.run("send", "-f", "a@client.test", "slow@sink.test", input=b"text\n").returncode == 75


def test_send_follows_to_a_way_that_is_busy_with_other_mail(make):
    """The next way takes one message at a time: until it is their turn nothing is told to wait."""
    first, second = make.peer(), make.peer()
    go = threading.Event()
    first.on["RCPT"] = "451 4.3.0 not here"
    second.on["RCPT"] = lambda session, line: None if go.wait(60) else CLOSE
    w = make.waypost({"first": first.gateway(priority="high"),
                      "second": second.gateway(limits={"connections": 1})})
    w.send(message())
    second.wait("the one before", lambda: second.sessions and b"RCPT" in b"".join(second.sessions[0].commands))
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(w.run, "send", "-f", "a@client.test", "--wait", "60", "b@sink.test", input=b"text\n")
        w.await_event("deferred", count=2)
        with pytest.raises(TimeoutError):
            sending.result(0.5)
        go.set()
        done = sending.result()
    assert done.returncode == 0 and "the gateway has taken it" in done.out


def test_what_is_dropped_is_held_no_more(site):
    w = site.waypost
    w.run("queue", "hold", site.slow, check=0)
    assert " held " in w.run("log", "--to", "slow@*", check=0).out
    w.run("queue", "drop", site.slow, check=0)
    line = w.run("log", "--to", "slow@*", check=0).out.splitlines()[1]
    assert " dropped " in line and " busy " in line
    assert w.json("log", site.slow)["held"] is False


def test_send_says_when_it_was_returned(site):
    site.sink.on["RCPT"] = "550 5.1.1 nobody"
    done = site.waypost.run("send", "-f", "", "b@sink.test", input=b"text\n")
    assert done.returncode not in (0, 75)


# ---- the spool ----

def test_spool_check_finds_all_well(site):
    w = site.waypost
    w.stop()
    assert "1 message waiting (" in w.run("spool", "check", check=0).out


def test_spool_rebuild_brings_the_history_back(site):
    w = site.waypost
    w.stop()
    for file in os.listdir(w.conf["spool"]):
        if "index" in file:
            os.unlink(f"{w.conf['spool']}/{file}")
    w.run("spool", "rebuild", check=0)
    w.start()
    assert site.slow in w.run("log", check=0).out


def test_the_spool_is_private(site):
    mode = os.stat(site.waypost.conf["spool"]).st_mode
    assert not mode & (stat.S_IRWXO | stat.S_IRWXG) & ~(stat.S_IXOTH | stat.S_IXGRP)
    for name in os.listdir(site.waypost.conf["spool"]):
        if name != "drop":
            assert not os.stat(f"{site.waypost.conf['spool']}/{name}").st_mode & stat.S_IRWXO, name
