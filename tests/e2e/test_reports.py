# SPDX-License-Identifier: ISC
"""Delivery status notifications, as the sender's mail program reads them (RFC 3461, 3462, 3464)."""
import pytest

from lib.mail import message, name_of, parse
from lib.wait import until


@pytest.fixture
def site(make):
    """The daemon, the upstream, and where mail to senders arrives."""
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = lambda s, line: "550 5.1.1 <gone@sink.test>: nobody here" if b"gone" in line else None
    w = make.waypost({"up": up.gateway(), "back": back.gateway()},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["up"]}], queue={"retry": ["1s"]})
    return w, up, back


class Report:
    """A parsed multipart/report."""

    def __init__(self, m):
        self.rcpts, self.sender = m.rcpts, m.sender
        self.mail = parse(m.data)
        assert self.mail.get_content_type() == "multipart/report"
        assert self.mail.get_param("report-type") == "delivery-status"
        self.text, self.status, self.original = self.mail.get_payload()
        assert self.text.get_content_type() == "text/plain"
        assert self.status.get_content_type() == "message/delivery-status"
        blocks = self.status.get_payload()
        self.whole, self.each = blocks[0], blocks[1:]
        self.words = self.text.get_content()


def the_report(back):
    return Report(back.await_message())


def test_a_refused_recipient_is_reported_to_the_sender(site):
    w, up, back = site
    sent = message(b"lost\r\n")
    w.send(sent, rcpt="gone@sink.test")
    r = the_report(back)
    assert (r.sender, r.rcpts) == ("", ["a@client.test"])
    assert r.whole["Reporting-MTA"] == "dns; waypost.test"
    assert len(r.each) == 1
    f = r.each[0]
    assert f["Final-Recipient"].replace(" ", "") == "rfc822;gone@sink.test"
    assert f["Action"] == "failed" and f["Status"] == "5.1.1"
    assert "nobody here" in f["Diagnostic-Code"] and f["Diagnostic-Code"].startswith("smtp;")
    assert "gone@sink.test" in r.words and "nobody here" in r.words
    assert r.mail["Auto-Submitted"] == "auto-replied"
    assert r.mail["To"] and r.mail["Message-ID"] and r.mail["Date"]
    assert name_of(sent) in r.original.as_string()
    assert len(back.messages) == 1 and up.messages == []


def test_only_the_refused_ones_of_several_are_reported(site):
    w, up, back = site
    sent = message(b"partly\r\n")
    w.send(sent, rcpt=["b@sink.test", "gone@sink.test", "c@sink.test"])
    r = the_report(back)
    assert [f["Final-Recipient"].split(";")[1].strip() for f in r.each] == ["gone@sink.test"]
    assert sorted(up.await_message(name_of(sent)).rcpts) == ["b@sink.test", "c@sink.test"]
    assert len(up.messages) == 1


def test_a_refusal_after_the_dot_reports_all(site):
    w, up, back = site
    up.on["."] = "554 5.6.0 I do not like it"
    w.send(message(), rcpt=["b@sink.test", "c@sink.test"])
    r = the_report(back)
    assert len(r.each) == 2 and {f["Status"] for f in r.each} == {"5.6.0"}
    assert len(back.messages) == 1


@pytest.mark.parametrize("how,whole", [("RET=FULL", True), ("RET=HDRS", False)])
def test_ret_decides_how_much_comes_back(site, how, whole):
    w, up, back = site
    w.send(message(b"the body itself\r\n"), rcpt="gone@sink.test", mail=how)
    r = the_report(back)
    assert r.original.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert ("the body itself" in r.original.as_string()) == whole


def test_envid_and_orcpt_come_back(site):
    w, up, back = site
    w.send(message(), rcpt="gone@sink.test", mail="ENVID=order+2B17", each="ORCPT=rfc822;first+2Blast@old.test")
    r = the_report(back)
    assert r.whole["Original-Envelope-Id"] == "order+17"
    assert r.each[0]["Original-Recipient"].replace(" ", "") == "rfc822;first+last@old.test"


def test_orcpt_cannot_add_a_field(site):
    w, up, back = site
    w.send(message(), rcpt="gone@sink.test", each="ORCPT=rfc822;x+0D+0AX-Inj:+20y", expect=b"50")


def test_notify_never_is_silent(site):
    w, up, back = site
    id = w.send(message(), rcpt="gone@sink.test", each="NOTIFY=NEVER")
    w.await_event("refused", id=id)
    w.send(message(), rcpt="gone@sink.test", sender="other@client.test")
    assert back.await_message().rcpts == ["other@client.test"]
    assert len(back.messages) == 1
    until("the queue is empty", lambda: w.queue() == [])


def test_a_failed_report_makes_no_further_report(site):
    w, up, back = site
    id = w.send(message(), rcpt="gone@sink.test", sender="")
    w.await_event("refused", id=id)
    w.send(message(), rcpt="gone@sink.test", sender="other@client.test")
    assert back.await_message().rcpts == ["other@client.test"]
    assert [m.rcpts for m in back.messages + up.messages] == [["other@client.test"]]


def test_notify_success_is_passed_on_to_who_knows_it(site):
    w, up, back = site
    sent = message()
    w.send(sent, mail="RET=HDRS ENVID=e1", each="NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@sink.test")
    m = up.await_message(name_of(sent))
    assert b"RET=HDRS" in m.mail_line and b"ENVID=e1" in m.mail_line
    assert b"NOTIFY=SUCCESS,FAILURE" in m.rcpt_lines[0] and b"ORCPT=rfc822;b@sink.test" in m.rcpt_lines[0]
    until("the queue is empty", lambda: w.queue() == [])
    assert back.messages == []


def test_notify_success_is_answered_where_the_next_server_cannot(site):
    w, up, back = site
    up.ehlo.remove("DSN")
    w.send(message(), each="NOTIFY=SUCCESS")
    f = the_report(back).each[0]
    assert f["Action"] == "relayed" and f["Status"].startswith("2.")


def test_a_delay_is_reported_once(make):
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = "450 4.2.0 later"
    w = make.waypost({"up": up.gateway(), "back": back.gateway()}, queue={"retry": ["1s"], "warn": "1s"},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["up"]}])
    w.send(message())
    r = the_report(back)
    f = r.each[0]
    assert f["Action"] == "delayed" and f["Status"].startswith("4.") and f["Will-Retry-Until"]
    w.await_event("deferred", count=4)
    assert len(back.messages) == 1


def test_expired_mail_is_returned_with_the_last_reply(make):
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = "450 4.2.0 still no room"
    w = make.waypost({"up": up.gateway(), "back": back.gateway()}, queue={"retry": ["1s"], "expire_tries": 2},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["up"]}])
    w.send(message())
    f = the_report(back).each[0]
    assert f["Action"] == "failed" and f["Status"] in ("5.4.7", "4.4.7")
    assert "still no room" in f["Diagnostic-Code"]


def test_without_return_to_sender_failed_mail_is_held(make):
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = "550 5.1.1 nobody"
    w = make.waypost({"up": up.gateway()}, queue={"return_to_sender": False})
    id = w.send(message())
    w.await_event("refused", id=id)
    until("it is held", lambda: [m for m in w.queue() if m["id"] == id and m["state"] == "held"])


def test_a_large_original_is_cut(site):
    w, up, back = site
    w.send(message(b"x" * 70 + b"\r\n" * 1 + b"line of text\r\n" * 100000), rcpt="gone@sink.test")
    m = back.await_message()
    assert len(m.data) < 100 * 1024


def test_an_unterminated_reply_adds_nothing_to_the_report(site):
    """As the reply that OpenSMTPD's queue file took for fields (CVE-2020-8794)."""
    w, up, back = site
    up.on["RCPT"] = b"550-no\r\n550-type: mda\r\n550 X-Inj: 1\r\n"
    w.send(message())
    r = the_report(back)
    assert len(r.each) == 1 and r.each[0]["X-Inj"] is None and r.each[0]["type"] is None
