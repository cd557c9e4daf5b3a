# SPDX-License-Identifier: ISC
"""Programs that people use hand mail in; what goes out is what they wrote, behind one trace field."""
import base64
import json
import smtplib
import socket
import ssl
import subprocess
import warnings

import pytest

from lib.mail import from_token, lf, message, name_of, parse, token
from lib.wait import free_port
from lib.waypost import Line, stuff

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt

USER, PASSWORD = "carol", "correct horse"
MODES = ["plain", "starttls", "implicit"]


class Site:
    pass


@pytest.fixture(scope="module")
def site(make_once, certificate, ca, tmp_path_factory):
    s = Site()
    s.ca = ca
    users = tmp_path_factory.mktemp("users") / "users"
    users.write_text(f"# who may send\n{USER}:{crypt.crypt(PASSWORD, '$y$j9T$abcdefghijklmnop')}\n")
    users.chmod(0o600)
    s.sink = make_once.peer()
    s.ports = {mode: free_port() for mode in MODES + ["auto", "own"]}
    pair = {"cert": str(ca), "key": str(certificate)}
    login = {"auth": "required", "users": str(users)}
    s.waypost = make_once.waypost({"sink": s.sink.gateway()}, listeners={
        "plain": {"address": [f"127.0.0.1:{s.ports['plain']}"]},
        "starttls": {"address": [f"127.0.0.1:{s.ports['starttls']}"], "tls": "required", **pair, **login},
        "implicit": {"address": [f"127.0.0.1:{s.ports['implicit']}"], "tls": "implicit", **pair, **login},
        "auto": {"address": [f"127.0.0.1:{s.ports['auto']}"], "tls": "auto", **pair},
        "own": {"address": [f"127.0.0.1:{s.ports['own']}"]},
    })
    return s


def run(*argv, input=None, ok=True, **more):
    done = subprocess.run([str(a) for a in argv], input=input, capture_output=True, timeout=60, **more)
    assert not ok or done.returncode == 0, f"{argv[0]}: {done.stdout.decode()}{done.stderr.decode()}"
    return done


def arrived(site, sent):
    """The message as it went out, which must be the one sent with only trace fields before it."""
    m = site.sink.await_message(name_of(sent))
    assert lf(from_token(m.data)) == lf(sent)
    trace = m.data[:m.data.index(b"X-Token: ")]
    fields = [line for line in trace.split(b"\r\n") if line and line[:1] not in b" \t"]
    assert [f.split(b":")[0] for f in fields] == [b"Received"], trace
    return m


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(site, tmp_path, mode, mechanism):
    if mode == "plain" and mechanism == "LOGIN":
        pytest.skip("no login without encryption")
    sent = message(b"8-bit \xc3\xa9\r\n.\r\n..two\r\n", rcpt="b@sink.test")
    (tmp_path / "mail").write_bytes(lf(sent)[:-1])  # swaks ends the last line itself
    more = {"plain": [], "starttls": ["-tls"], "implicit": ["-tlsc"]}[mode]
    if mode != "plain":
        more += ["-a", mechanism, "-au", USER, "-ap", PASSWORD]
    run("swaks", "-s", "127.0.0.1", "-p", site.ports[mode], "-f", "a@client.test", "-t", "b@sink.test",
        "-d", f"@{tmp_path / 'mail'}", *more)
    m = arrived(site, sent)
    assert (m.sender, m.rcpts) == ("a@client.test", ["b@sink.test"])


@pytest.mark.parametrize("mode", MODES)
def test_curl(site, tmp_path, mode):
    sent = message(b"from curl\r\n.dot\r\n")
    (tmp_path / "mail").write_bytes(sent)
    scheme = "smtps" if mode == "implicit" else "smtp"
    more = [] if mode == "plain" else ["--ssl-reqd", "--cacert", site.ca, "-u", f"{USER}:{PASSWORD}"]
    run("curl", "-sS", f"{scheme}://localhost:{site.ports[mode]}", "--mail-from", "a@client.test",
        "--mail-rcpt", "b@sink.test", "--upload-file", tmp_path / "mail", *more)
    arrived(site, sent)


@pytest.mark.parametrize("mode", MODES)
def test_msmtp(site, mode):
    sent = message(b"from msmtp\r\n.\r\n")
    more = {"plain": ["--tls=off"], "starttls": ["--tls=on", "--tls-starttls=on"],
            "implicit": ["--tls=on", "--tls-starttls=off"]}[mode]
    if mode != "plain":
        more += [f"--tls-trust-file={site.ca}", "--auth=plain", f"--user={USER}",
                 f"--passwordeval=echo {PASSWORD}"]
    run("msmtp", "--file=/dev/null", "--host=localhost", f"--port={site.ports[mode]}", "-f", "a@client.test",
        *more, "b@sink.test", input=lf(sent))
    arrived(site, sent)


@pytest.mark.parametrize("mode", MODES)
def test_git_send_email(site, tmp_path, mode):
    def git(*args):
        run("git", "-c", "user.name=A", "-c", "user.email=a@client.test", *args, cwd=tmp_path)
    name = token()
    git("init", "-q")
    (tmp_path / "file").write_text(f"{name}\n.\n.\u00e9\n")
    git("add", "file")
    git("commit", "-qm", f"add {name}")
    git("format-patch", "-q", "-1", "-o", "out")
    patch = next((tmp_path / "out").glob("*.patch"))
    patch.write_bytes(b"".join(patch.read_bytes().split(b"\n", 1)[:1]) + f"\nX-Token: {name}\n".encode()
                      + patch.read_bytes().split(b"\n", 1)[1])
    more = []
    if mode != "plain":
        more = [f"--smtp-encryption={'tls' if mode == 'starttls' else 'ssl'}", f"--smtp-ssl-cert-path={site.ca}",
                f"--smtp-user={USER}", f"--smtp-pass={PASSWORD}", "--smtp-auth=PLAIN"]
    git("send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--no-thread", "--from=a@client.test",
        "--to=b@sink.test", "--smtp-server=localhost", f"--smtp-server-port={site.ports[mode]}",
        "--transfer-encoding=8bit", "--8bit-encoding=UTF-8", *more, str(patch))
    m = site.sink.await_message(name)
    patch_body = patch.read_bytes().split(b"\n\n", 1)[1]
    assert lf(m.data).endswith(patch_body)


@pytest.mark.parametrize("mode", MODES)
def test_s_nail(site, mode):
    name = token()
    login = "" if mode == "plain" else "carol:correct%20horse@"
    scheme = "smtps" if mode == "implicit" else "smtp"
    more = ["-Ssmtp-auth=none"] if mode == "plain" else ["-Ssmtp-auth=plain", f"-Stls-ca-file={site.ca}"]
    more += ["-Ssmtp-use-starttls"] if mode == "starttls" else []
    run("s-nail", "-:/", "-Sv15-compat", "-Sttycharset=utf-8", "-Ssendwait", f"-X set customhdr='X-Token: {name}'",
        f"-Smta={scheme}://{login}localhost:{site.ports[mode]}", "-Sfrom=a@client.test", *more,
        "-s", "from s-nail", "b@sink.test", input=f"line of {name}\n.not the end\n".encode())
    m = site.sink.await_message(name)
    assert parse(m.data).get_content().replace("\r\n", "\n") == f"line of {name}\n.not the end\n"


@pytest.mark.parametrize("mode", MODES)
def test_python_smtplib(site, mode):
    context = ssl.create_default_context(cafile=site.ca)
    sent = message(b".from smtplib\r\n" * 100)
    if mode == "implicit":
        client = smtplib.SMTP_SSL("localhost", site.ports[mode], context=context, timeout=30)
    else:
        client = smtplib.SMTP("localhost", site.ports[mode], timeout=30)
    with client:
        if mode == "starttls":
            client.starttls(context=context)
        if mode != "plain":
            client.login(USER, PASSWORD)
        assert client.sendmail("a@client.test", ["b@sink.test", "c@sink.test"], sent) == {}
    assert arrived(site, sent).rcpts == ["b@sink.test", "c@sink.test"]


NODE = """
const nodemailer = require('nodemailer');
const o = JSON.parse(process.argv[1]);
nodemailer.createTransport(o.transport).sendMail(
  {envelope: {from: 'a@client.test', to: ['b@sink.test']}, raw: Buffer.from(o.raw, 'base64')},
  (err, info) => { if (err) { console.error(err); process.exit(1); } });
"""


@pytest.mark.parametrize("mode", MODES)
def test_nodemailer(site, mode):
    sent = message(b"from nodemailer\r\n.\r\n\r\n.x\r\n")
    # By address: some nodes take ::1 for localhost, and no other. The certificate is that of localhost.
    transport = {"host": "127.0.0.1", "port": site.ports[mode], "secure": mode == "implicit",
                 "tls": {"ca": site.ca.read_text(), "servername": "localhost"}, "ignoreTLS": mode == "plain"}
    if mode != "plain":
        transport["auth"] = {"user": USER, "pass": PASSWORD}
    run("node", "-e", NODE, json.dumps({"transport": transport, "raw": base64.b64encode(sent).decode()}),
        env={"NODE_PATH": "/usr/share/nodejs", "PATH": "/usr/bin:/bin"})
    arrived(site, sent)


def test_everything_in_one_segment(site):
    """As netcat sends a file: no waiting for any reply, HELO, no STARTTLS."""
    sent = message(b"from a file\r\n..\r\n")
    with socket.create_connection(("127.0.0.1", site.ports["plain"]), 30) as s:
        s.sendall(b"HELO nc\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\n"
                  + stuff(sent) + b".\r\nQUIT\r\n")
        s.shutdown(socket.SHUT_WR)
        said = b""
        while got := s.recv(4096):
            said += got
    assert [line[:3] for line in said.splitlines()] == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    arrived(site, sent)


def test_to_a_real_postfix(make, postfix):
    w = make.waypost({"postfix": postfix.gateway()})
    sent = message(b"all the way\r\n.\r\n..\r\n\xc3\xa9\r\n")
    with smtplib.SMTP("127.0.0.1", w.port, timeout=30) as client:
        client.sendmail("a@client.test", ["b@sink.test"], sent)
    assert postfix.await_message(name_of(sent)) == lf(sent)
    event = w.await_event("relayed")
    assert "postfix" in event["text"]


def test_auto_takes_tls_and_plain_on_one_port(site):
    context = ssl.create_default_context(cafile=site.ca)
    for cls, more in ((smtplib.SMTP, {}), (smtplib.SMTP_SSL, {"context": context})):
        sent = message()
        with cls("localhost", site.ports["auto"], timeout=30, **more) as client:
            client.sendmail("a@client.test", ["b@sink.test"], sent)
        arrived(site, sent)


def test_a_certificate_is_made_when_none_is_named(site):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = message()
    with smtplib.SMTP("127.0.0.1", site.ports["own"], timeout=30) as client:
        client.starttls(context=context)
        client.sendmail("a@client.test", ["b@sink.test"], sent)
    assert b"TLS" in arrived(site, sent).data.split(b"X-Token")[0]


def test_wrong_password_is_refused_and_logged_without_it(site):
    context = ssl.create_default_context(cafile=site.ca)
    with smtplib.SMTP("localhost", site.ports["starttls"], timeout=30) as client:
        client.starttls(context=context)
        with pytest.raises(smtplib.SMTPAuthenticationError) as e:
            client.login(USER, "battery staple")
        assert e.value.smtp_code == 535
    site.waypost.await_event("login-failed", USER)
    assert "battery" not in site.waypost.tail(10000)


def test_no_login_before_encryption(site):
    with Line(("127.0.0.1", site.ports["starttls"])) as c:
        assert b"AUTH" not in c.say("EHLO x")
        assert c.say("AUTH PLAIN AGNhcm9sAHg=")[:1] == b"5"
        assert c.say("MAIL FROM:<a@client.test>").startswith(b"530")


def test_no_mail_without_login_where_it_is_required(site):
    context = ssl.create_default_context(cafile=site.ca)
    with smtplib.SMTP_SSL("localhost", site.ports["implicit"], context=context, timeout=30) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<a@client.test>")[0] == 530
