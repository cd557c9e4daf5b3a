# SPDX-License-Identifier: ISC
"""`waypost import`: what other programs' files say, as they really look, and as they should not. The samples are in
`import/`, a tree for each program: `home` and `root`."""
import json
import os
import pathlib
import re
import resource
import shutil
import stat
import subprocess

import pytest

from lib import mta
from lib.waypost import BINARY, FAULTS

SAMPLES = pathlib.Path(__file__).parent / "import"
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
# No clear password of the samples ever shows.
SECRET = re.compile(r"hunter")


class Box:
    """A home and a root of its own, to be filled; or those of a sample."""

    def __init__(self, top, home=None, root=None):
        self.top = top
        self.home, self.root = home or top / "home", root or top / "root"
        for d in (self.home, self.root):
            d.mkdir(exist_ok=True)

    def put(self, path, text):
        """"/etc/x" goes below the root, "x" below the home."""
        file = self.root / path[1:] if path[0] == "/" else self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def run(self, *args, check=None, wrap=(), seconds=120):
        argv = [*wrap, BINARY, "import", "--home", self.home, "--root", self.root, *args]
        done = subprocess.run(argv, capture_output=True, timeout=seconds, env=ENV, stdin=subprocess.DEVNULL)
        done.out, done.err = done.stdout.decode(), done.stderr.decode()
        assert not FAULTS.search(done.err), done.err
        assert not SECRET.search(done.out + done.err), "a password was shown"
        if check is not None:
            assert done.returncode == check, done.out + done.err
        return done

    def json(self, *args, check=0):
        return json.loads(self.run("--json", *args, check=check).out)

    def write(self, *args, passwords=True):
        """The configuration, written and checked."""
        file = self.top / "waypost.yaml"
        self.run("--write", file, *(["--passwords", self.top / "pw"] if passwords else []), *args, check=0)
        text = file.read_text()
        assert not SECRET.search(text)
        done = subprocess.run([BINARY, "config", "check", "--text-only", file], capture_output=True, text=True, env=ENV)
        assert done.returncode == 0, done.stdout + done.stderr + text
        assert "warning" not in done.stderr, done.stderr
        return text

    def password(self, name):
        file = self.top / "pw" / f"{name}.pw"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        return file.read_text()


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def sample(tmp_path, name):
    return Box(tmp_path, SAMPLES / name / "home" if (SAMPLES / name / "home").exists() else None,
               SAMPLES / name / "root" if (SAMPLES / name / "root").exists() else None)


def unfold(text):
    """Remarks over several lines as one."""
    return re.sub(r"\n *#", "", text)


# What each sample gives: by name url, senders, and where the password is (with it, when it is in clear).
PASS = "pass show mail/example"
EXPECTED = {
    "thunderbird": {
        "example-org": ("smtps://anna@smtp.example.org", ["anna@example.org", "anna.b@example.org"], "keyring"),
        "club-example": ("smtp+starttls://anna@club.example@mail.club.example", ["anna@club.example"], "keyring"),
    },
    "evolution": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", ["anna@example.org", "anna.b@example.org"],
                        ("keyring", "secret-tool lookup e-source-uid '1700000001.1234.3@box'")),
    },
    "kmail": {
        "example-org": ("smtps://anna@smtp.example.org", ["anna@example.org"],
                        ("keyring", "kwallet-query -f mailtransports -r '1372613211' kdewallet")),
        "work-example": ("smtp+starttls://anna.work@mail.work.example", ["anna@work.example"],
                         ("keyring", "kwallet-query -f mailtransports -r '9' kdewallet")),
    },
    "claws-mail": {
        "example-org": ("smtps://anna@smtp.example.org", ["anna@example.org"], "keyring"),
        "work-example": ("smtp+starttls://anna.work@mail.work.example", ["anna@work.example"], "keyring"),
    },
    "sylpheed": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", ["anna@example.org"], ("clear", "hunter2 plain")),
    },
    "geary": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", ["anna@example.org", "anna.b@example.org"],
                        ("keyring", "secret-tool lookup proto IMAP host 'imap.example.org' login 'anna'")),
    },
    "mutt": {
        "example-org": ("smtp+starttls://anna@example.org@smtp.example.org", ["anna@example.org"], ("command", PASS)),
        "work-example": ("smtps://anna@work.example@mail.work.example", ["anna@work.example"], ("clear", "hunter:2")),
        "club-example": ("smtps://anna@smtp.club.example", ["anna@club.example"], ("clear", 'club "hunter2"')),
    },
    "msmtp": {
        "gmail": ("smtp+starttls://anna@gmail.com@smtp.gmail.com", ["anna@gmail.com"],
                  ("command", "gpg --quiet --for-your-eyes-only --decrypt HOME/.msmtp-gmail.gpg")),
        "work-example": ("smtps://anna.work@mail.work.example", ["anna@work.example"],
                         ("clear", "hunter2 # not a remark")),
        "ip-192-0-2-25": ("smtp://192.0.2.25", ["*@old.example"], "none"),
        "example-org": ("smtp+starttls://box@smtp.example.org:25", [], ("clear", "hunter2etc")),
    },
    "ssmtp": {
        "example-org": ("smtp+starttls://box@example.org@smtp.example.org", ["admin@example.org"], ("clear", "hunter2")),
        "work-example": ("smtp+starttls://box@example.org@mail.work.example:25", ["anna@work.example"],
                         ("clear", "hunter2")),
    },
    "git": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", ["anna@example.org"], "keyring"),
        "work-example": ("smtps://anna.work@mail.work.example", ["anna@work.example"], ("clear", 'hunter "2" # in')),
        "bare-example": ("smtp+starttls://anna@relay.bare.example", ["anna@example.org"], "keyring"),
    },
    "postfix": {
        "example-org": ("smtp+starttls://box@example.org@smtp.example.org", [], ("clear", "hunter2:with:colons")),
        "work-example": ("smtp+starttls://anna.work@mail.work.example", ["anna@work.example"], ("clear", "hunter2work")),
        "club-example": ("smtp+starttls://smtp.club.example:25", ["*@club.example"], "none"),
        "corp-example": ("smtp+starttls://relay.corp.example:25", [], "none"),
    },
    "exim": {
        "example-org": ("smtp+starttls://box@smtp.example.org", [], ("clear", "hunter^2:x")),
        "backup-example-net": ("smtp://backup.example.net", [], "none"),
    },
    "nullmailer": {
        "example-org": ("smtp+starttls://box@smtp.example.org", [], ("clear", "hunter 2")),
        "backup-example": ("smtps://box2@mail.backup.example", [], ("clear", "hunter 3")),
        "plain-example": ("smtp://relay.plain.example", [], "none"),
    },
    "dma": {
        "example-org": ("smtp+starttls://box@smtp.example.org", [], ("clear", "hunter:2")),
    },
    "opensmtpd": {
        "example-org": ("smtp+starttls://box@smtp.example.org", [], ("clear", "hunter2:x")),
        "club-example": ("smtps://anna@smtp.club.example", ["*@club.example"], ("clear", "hunter2club")),
    },
    "masqmail": {
        "example-org": ("smtp+starttls://box@smtp.example.org", [], ("clear", "hunter2")),
        "club-example": ("smtps://smtp.club.example", ["anna@club.example", "bert@club.example"], "none"),
    },
    "aerc": {
        "example-org": ("smtps://anna@example.org@smtp.example.org",
                        ["anna@example.org", "anna.b@example.org", "club@example.org"], ("command", PASS)),
        "work-example": ("smtp+starttls://anna.work@mail.work.example", ["anna@work.example"], ("clear", "hunter 2")),
    },
    "himalaya": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", ["anna@example.org"], ("command", PASS)),
        "old-example": ("smtps://anna@smtp.old.example", ["anna@old.example"], "none"),
        "dots-example": ("smtps://anna@dots.example@smtp.dots.example", ["anna@dots.example"], ("clear", 'hunter "2"')),
    },
    "mailx": {
        "example-org": ("smtp+starttls://anna@example.org@smtp.example.org", ["anna@example.org"], ("clear", "hunter2")),
        "work-example": ("smtps://anna.work@mail.work.example", ["anna@work.example"], ("clear", 'hunter "2"')),
    },
    "esmtp": {
        "example-org": ("smtp+starttls://anna@smtp.example.org", [], ("clear", "hunter2")),
        "work-example": ("smtp+starttls://anna.work@mail.work.example:25", ["anna@work.example"],
                         ("clear", "hunter2 work")),
    },
}


# ---- each program ----

@pytest.mark.parametrize("program", EXPECTED)
def test_program(program, tmp_path):
    box = sample(tmp_path, program)
    found = box.json()
    assert found["schema"] == 1
    gateways = {g["name"]: g for g in found["gateways"]}
    assert set(gateways) == set(EXPECTED[program])
    for name, (url, senders, secret) in EXPECTED[program].items():
        g = gateways[name]
        where, what = secret if isinstance(secret, tuple) else (secret, None)
        assert (g["url"], g["senders"], g["password"]["where"]) == (url, senders, where), name
        assert all(p["program"] == program and pathlib.Path(p["file"]).is_file() and p["line"] > 0 for p in g["places"])
        if what is not None and where != "clear":
            assert g["password"]["command"] == what.replace("HOME", str(box.home))
    # The line named is the one of the server, or of the block it stands in.
    text = box.write()
    for name, (url, senders, secret) in EXPECTED[program].items():
        assert f"\n  {name}:\n    url: \"{url}\"\n" in text
        if isinstance(secret, tuple) and secret[0] == "clear":
            assert f"password: !file {tmp_path}/pw/{name}.pw" in text
            assert box.password(name) == secret[1] + "\n"
            # Where it is said to be: in that line, or one that goes on from it.
            lines = pathlib.Path(gateways[name]["password"]["file"]).read_text().split("\n")
            line = gateways[name]["password"]["line"]
            assert any("hunter" in text for text in lines[line - 1:line + 2])


@pytest.mark.parametrize("program", EXPECTED)
def test_program_alone_and_without_passwords(program, tmp_path):
    box = sample(tmp_path, program)
    other = next(p for p in EXPECTED if p != program)
    assert box.run("--from", other).returncode == 69
    text = box.write("--from", program.upper(), passwords=False)
    flat = unfold(text)
    assert not (tmp_path / "pw").exists()
    for name, (_, _, secret) in EXPECTED[program].items():
        if isinstance(secret, tuple) and secret[0] == "clear":
            assert re.search(rf"to do: the password is in [^!]*password: !file {tmp_path}/{name}.pw", flat)
    # The ordinary check says where a password is missing.
    if "# to do" in text:
        done = subprocess.run([BINARY, "config", "check", tmp_path / "waypost.yaml"], capture_output=True, text=True)
        assert done.returncode == 78 and "no secret" in done.stderr and ".pw" in done.stderr


def test_every_program_has_a_sample():
    done = subprocess.run([BINARY, "import", "--from", "nothing"], capture_output=True, text=True)
    rows = re.findall(r"^  ([a-z-]+) +\S", done.stderr, re.M)
    assert done.returncode == 64 and sorted(rows) == sorted(EXPECTED)


def test_crlf_and_latin1(tmp_path):
    """The same files with the line ends of another system, and with old letters in remarks, read the same."""
    for program in EXPECTED:
        a = sample(tmp_path, program)
        copy = tmp_path / program
        shutil.copytree(SAMPLES / program, copy)
        for file in copy.rglob("*"):
            if file.is_file() and file.name not in ("profiles.ini",):
                file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        b = Box(tmp_path, copy / "home", copy / "root")
        want, got = ({g["name"]: (g["url"], g["senders"], g["password"]["where"]) for g in x.json()["gateways"]}
                     for x in (a, b))
        # A joined line ends in a backslash; behind it stands CR, which the programs themselves do not take for an end.
        assert got == want, program
    box = Box(tmp_path)
    box.put(".msmtprc", "# Büro\naccount Büro\nhost smtp.example.org\nfrom anna@example.org\n".encode("latin-1"))
    assert box.json("--from", "msmtp")["gateways"][0]["places"][0]["account"].startswith("B")
    box.write("--from", "msmtp")


# ---- agreement with the programs themselves ----

def test_msmtp_agrees(tmp_path):
    box = sample(tmp_path, "msmtp")
    ours = {p["account"]: (g, p) for g in box.json()["gateways"] for p in g["places"] if p["file"].endswith(".msmtprc")}
    file = tmp_path / "msmtprc"
    file.write_text(re.sub("passwordeval.*", "passwordeval echo evaluated", (box.home / ".msmtprc").read_text()))
    file.chmod(0o600)
    for account in ("gmail", "work", "old", "default"):
        said = subprocess.run(["msmtp", "-P", "-C", file, "-a", account], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        theirs = dict(re.findall(r"^(\w+) += (.*)$", said.stdout, re.M))
        g = ours[account][0]
        assert (g["host"], str(g["port"])) == (theirs["host"], theirs["port"].split()[0])
        assert g["senders"] == [theirs["from"]]
        if theirs["auth"] != "none":
            assert g["user"] == theirs["user"]
            assert g["password"]["where"] == ("clear" if account == "work" else "command")
            assert theirs["password"] == "*"
        tls = "off" if theirs["tls"] == "off" else "required" if theirs["tls_starttls"] == "on" else "implicit"
        assert g["tls"] == tls or (tls == "off" and g["tls"] == "wanted")


def test_git_agrees(tmp_path):
    box = sample(tmp_path, "git")
    env = dict(os.environ, HOME=str(box.home), GIT_CONFIG_NOSYSTEM="1", XDG_CONFIG_HOME=str(tmp_path))

    def asked(key):
        done = subprocess.run(["git", "config", "--global", "--includes", "--get", key], env=env, capture_output=True,
                              text=True, cwd="/")
        return done.stdout.rstrip("\n") or None

    ours = {p["account"]: g for g in box.json()["gateways"] for p in g["places"]}
    for identity in (None, "work", "bare"):
        def value(key):
            return (identity and asked(f"sendemail.{identity}.{key}")) or asked(f"sendemail.{key}")
        g = ours[identity]
        assert (g["host"], str(g["port"]), g["user"]) == (value("smtpserver"), value("smtpserverport"), value("smtpuser"))
        assert g["tls"] == {"tls": "required", "ssl": "implicit"}[value("smtpencryption")]
    box.write()
    assert box.password("work-example").rstrip("\n") == asked("sendemail.work.smtppass")


def test_s_nail_agrees(tmp_path):
    box = sample(tmp_path, "mailx")
    ours = {p["account"]: g for g in box.json()["gateways"] for p in g["places"]}
    box.write()
    env = dict(os.environ, HOME=str(box.home), MAILRC=str(box.home / ".mailrc"))

    def asked(*args):
        names = "mta from smtp-auth-user smtp-auth-password smtp-use-starttls"
        done = subprocess.run(["s-nail", "-:u", *args, "-#", "-Y", f"varshow {names}", "-Y", "x"], env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return dict(re.findall(r"set ([\w-]+)(?:=(.*))?$", done.stdout, re.M)), done.stderr

    theirs, said = asked()
    g = ours[None]
    assert theirs["mta"] == f"smtp://anna%40example.org:hunter2@{g['host']}:{g['port']}", said
    assert "smtp-use-starttls" in theirs and g["tls"] == "required" and g["senders"][0] in theirs["from"]
    theirs, said = asked("-A", "work")
    g = ours["work"]
    assert theirs["mta"] == f"smtps://{g['host']}" and theirs["smtp-auth-user"] == g["user"], said
    assert theirs["smtp-auth-password"].strip("'") == box.password(g["name"]).rstrip("\n")


class Asked(mta.Postfix):
    """Postfix's own tools on a sample, in its own overlay."""

    def ask(self, etc, script):
        self.script = script
        shutil.copytree(etc, self.top / "etc" / "postfix")
        (self.top / "etc/postfix/dynamicmaps.cf").write_text("")
        self.start()
        assert self.process.wait(60) == 0, self.text()
        return self.text()

    def command(self):
        return self.script


def test_postfix_agrees(tmp_path):
    box = sample(tmp_path, "postfix")
    ours = {g["name"]: g for g in box.json()["gateways"]}
    box.write()
    said = Asked(tmp_path / "asked").ask(box.root / "etc/postfix", """
        postconf -x -n relayhost smtp_tls_security_level smtp_sasl_password_maps 2>&1
        ask() { echo "$1: $(postmap -q "$1" texthash:/etc/postfix/$2)"; }
        ask '[smtp.example.org]:587' sasl_passwd; ask anna@work.example sasl_more
        ask anna@work.example sender_relay; ask @club.example sender_relay; ask corp.example transport""")
    rows = dict(re.findall(r"^(\S+?) ?[=:] (.*)$", said, re.M))
    g = ours["example-org"]
    assert rows["relayhost"] == f"[{g['host']}]:{g['port']}" and rows["smtp_tls_security_level"] == "encrypt"
    assert rows["smtp_sasl_password_maps"].split() == ["hash:/etc/postfix/sasl_passwd", "hash:/etc/postfix/sasl_more"]
    assert rows["[smtp.example.org]:587"] == g["user"] + ":" + box.password("example-org").rstrip()
    assert "anna@work.example: anna.work:" + box.password("work-example").rstrip() in said
    assert "anna@work.example: [mail.work.example]:submission" in said and ours["work-example"]["port"] == 587
    assert rows["@club.example"] == ours["club-example"]["host"]
    assert rows["corp.example"] == f"smtp:[{ours['corp-example']['host']}]"


# ---- what is special in one ----

def test_postfix_routes(tmp_path):
    box = sample(tmp_path, "postfix")
    routes = {r["to"]: r["gateway"] for r in box.json()["routes"]}
    assert routes == {"*@corp.example": "corp-example", "*@*.corp.example": "corp-example", "*@direct.example": "direct"}
    text = box.write()
    assert text.rstrip().endswith("- {via: [work-example, club-example, example-org]}")
    notes = " ".join(n["text"] for n in box.json()["notes"])
    assert "regexp" in notes and "not SMTP" in notes
    assert "looks up the MX of smtp.club.example" in box.run().out


def test_postfix_without_relayhost_sends_the_rest_direct(box):
    box.put("/etc/postfix/main.cf", "sender_dependent_relayhost_maps = inline:{anna@example.org=[smtp.example.org]:465}\n"
            "smtp_tls_wrappermode = yes\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:anna:hunter2\n")
    text = box.write()
    assert 'url: "smtps://anna@smtp.example.org"' in text and 'senders: ["anna@example.org"]' in text
    assert text.rstrip().endswith("- {via: [example-org, direct]}") and box.password("example-org") == "hunter2\n"


def test_oauth2_is_left_out_and_said(tmp_path):
    for program, host in (("thunderbird", "smtp.gmail.com"), ("aerc", "smtp.gmail.com"), ("msmtp", "smtp.office365.com"),
                          ("evolution", "smtp.gmail.com"), ("geary", "smtp.gmail.com")):
        box = sample(tmp_path, program)
        out = box.run("--from", program, check=0).out
        assert "not carried over" in out and host in out and "OAuth2, which is not available in this version" in out
        left = box.json("--from", program)["left_out"]
        assert [g["host"] for g in left] == [host] and left[0]["name"] is None
        assert f"{host}" in box.write("--from", program).split("# Not carried over:")[1]
        os.remove(tmp_path / "waypost.yaml")
        shutil.rmtree(tmp_path / "pw")


def test_clear_login_is_not_carried_over_silently(box):
    box.put(".msmtprc", "account default\nhost smtp.example.org\nport 25\nauth on\nuser me\npassword hunter2\ntls off\n")
    g = box.json()["gateways"][0]
    assert g["tls"] == "required" and any("without TLS" in r for r in g["remarks"])
    box.write()


def test_bridge_on_this_machine(box):
    """ProtonMail's bridge: a login on loopback, its certificate made by itself."""
    box.put(".msmtprc", "account default\nhost 127.0.0.1\nport 1025\nauth on\nuser me\npassword hunter2\ntls on\n"
            "account plain\nhost localhost\nport 1026\nauth on\nuser me\npassword hunter2\n"
            "account own\nhost localhost\nport 25\n")
    text = box.write()
    assert 'url: "smtp+starttls://me@127.0.0.1:1025"' in text and "verify: false" in text
    assert 'url: "smtp://me@localhost:1026"' in text and "tls: off" in text and "auth_in_clear: true" in text
    assert "own port 25" in box.json()["left_out"][0]["why_not"]


def test_msmtp_netrc_and_echo(box):
    box.put(".netrc", "machine other.example login me password no\nmachine smtp.example.org\n  login me\n  password hunter2rc\n"
            "default login you password no\n")
    box.put(".msmtprc", "defaults\nauth on\ntls on\naccount a\nhost smtp.example.org\nuser me\n"
            "account b\nhost smtp.two.example\nuser me\npasswordeval echo hunter2echo\n"
            "account c\nhost smtp.three.example\nuser me\npasswordeval printf '%s' \"hunter3\"\n")
    text = box.write()
    assert box.password("example-org") == "hunter2rc\n" and box.password("two-example") == "hunter2echo\n"
    assert "printf" not in text and "shows the password itself" in unfold(text)


def test_a_strange_login_makes_no_command(box):
    box.put(".msmtprc", "account default\nhost smtp.example.org\nport 587\ntls on\nauth on\nuser \"me;touch ran\"\n")
    shown = box.run(check=0).out
    assert "keyring" in shown and "secret-tool" not in shown


@pytest.mark.skipif(os.getuid() != 0, reason="needs files of another user")
def test_a_command_of_another_user_is_never_run(box):
    """Root looks at somebody's home: what stands there must not be run with root's rights."""
    ran = box.top / "ran"
    file = box.put(".msmtprc", "account default\nhost smtp.example.org\nport 587\ntls on\nauth on\nuser me\n"
                   f"passwordeval sh -c 'touch {ran}; echo secret'\n")
    config = box.top / "own.yaml"
    config.write_text(f"hostname: a.example\nspool: {box.top}/spool\nrun: {box.top}/run\n")
    append = [BINARY, "--config", config, "import", "--home", box.home, "--root", box.root, "--append"]
    os.chown(file, 65534, 65534)
    done = subprocess.run(append, capture_output=True, text=True, env=ENV)
    assert not ran.exists(), done.stdout + done.stderr
    assert "!command" not in config.read_text()
    shown = box.run(check=0).out
    assert "file of another user" in unfold(shown) and "!command" not in shown
    os.chown(file, 0, 0)
    assert "!command" in box.run(check=0).out


def test_same_server_in_several_programs_is_one(box):
    for program in ("thunderbird", "kmail", "sylpheed"):
        shutil.copytree(SAMPLES / program / "home", box.home, dirs_exist_ok=True)
    found = {g["name"]: g for g in box.json()["gateways"]}
    g = next(g for g in found.values() if g["url"] == "smtps://anna@smtp.example.org")
    assert [p["program"] for p in g["places"]] == ["thunderbird", "kmail"]
    assert g["senders"] == ["anna@example.org", "anna.b@example.org"]
    # Another port is another gateway, with a name of its own.
    assert found["example-org-anna"]["port"] == 587
    assert sum(g["catch_all"] for g in found.values()) == 1
    box.write()


def test_passwords_that_differ_are_told(box):
    box.put(".msmtprc", "account default\nhost smtp.example.org\ntls on\nport 587\nauth on\nuser me\npassword hunter2\n")
    box.put(".esmtprc", "hostname=smtp.example.org:587\nusername=me\npassword=hunter3\nstarttls=required\n")
    assert "differ" in box.run().out
    box.write()
    assert box.password("example-org") == "hunter2\n"


def test_all_at_once(tmp_path):
    """Everything on one machine: still one configuration without a mistake."""
    box = Box(tmp_path)
    for program in EXPECTED:
        for part in ("home", "root"):
            if (SAMPLES / program / part).exists():
                shutil.copytree(SAMPLES / program / part, getattr(box, part), dirs_exist_ok=True)
    text = box.write()
    names = re.findall(r"^  (\S+):$", text, re.M)
    assert len(names) == len(set(names)) > 8
    assert sum(g["catch_all"] for g in box.json()["gateways"]) == 1


# ---- the command ----

def test_dry_run_writes_nothing(tmp_path):
    box = sample(tmp_path, "msmtp")
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    out = box.run(check=0).out
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before
    assert "waypost import --write /etc/waypost/waypost.yaml --passwords /etc/waypost" in out
    assert "waypost config check" in out and "waypost gateway test gmail" in out
    assert "in " + str(box.home) + "/.msmtprc:23" in out and "--passwords DIR" in out


def test_what_exists_is_left_alone(tmp_path):
    box = sample(tmp_path, "msmtp")
    file = tmp_path / "waypost.yaml"
    file.write_text("# mine\n")
    done = box.run("--write", file, "--passwords", tmp_path / "pw", check=73)
    assert file.read_text() == "# mine\n" and not (tmp_path / "pw").exists()
    assert "exists and is left as it is" in done.err and done.out.startswith("# Made by") and "gateways:" in done.out
    file.unlink()
    (tmp_path / "pw").mkdir()
    (tmp_path / "pw" / "example-org.pw").write_text("mine\n")
    done = box.run("--write", file, "--passwords", tmp_path / "pw", check=73)
    assert "example-org.pw exists" in done.err and not file.exists()
    assert [p.name for p in (tmp_path / "pw").iterdir()] == ["example-org.pw"]


def test_append(tmp_path):
    """To a configuration that a person wrote: it stays, the new gateways stand behind, and passwords are as safe."""
    box = sample(tmp_path, "postfix")
    file = tmp_path / "waypost.yaml"
    mine = f"# mine\nspool: {tmp_path}/spool\nrun: {tmp_path}/run\ngateways:\n  corp-example: {{url: \"smtp://192.0.2.1\"}}  # this\n"
    file.write_text(mine)
    file.chmod(0o600)

    def append(*args):
        done = subprocess.run([BINARY, "--config", file, "import", "--home", box.home, "--root", box.root, "--append", *args],
                              capture_output=True, text=True, env=ENV)
        assert not SECRET.search(done.stdout + done.stderr) and not FAULTS.search(done.stderr), done.stderr
        return done

    # The passwords must be there; else nothing is changed.
    done = append()
    assert done.returncode != 0 and "no secret" in done.stderr and file.read_text() == mine
    done = append("--passwords", tmp_path / "pw")
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    assert text.startswith(mine) and not SECRET.search(text)
    assert "`corp-example` is left out" in done.stderr and "routes are not added" in done.stderr
    assert 'work-example: {url: "smtp+starttls://anna.work@mail.work.example"' in text
    assert 'senders: ["anna@work.example"]' in text and "priority: low" in text
    assert box.password("work-example") == "hunter2work\n"
    done = subprocess.run([BINARY, "config", "check", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A second time there is nothing to add.
    assert append("--passwords", tmp_path / "pw").returncode == 65 and file.read_text() == text


def test_half_written_goes_again(tmp_path):
    box = sample(tmp_path, "msmtp")
    done = box.run("--write", tmp_path / "no" / "such" / "waypost.yaml", "--passwords", tmp_path / "pw", check=73)
    assert "waypost:" in done.err and list((tmp_path / "pw").iterdir()) == []


def test_modes(tmp_path):
    box = sample(tmp_path, "dma")
    box.write()
    assert stat.S_IMODE((tmp_path / "pw").stat().st_mode) == (0o755 if os.geteuid() == 0 else 0o700)
    mode = stat.S_IMODE((tmp_path / "waypost.yaml").stat().st_mode)
    assert mode == (0o644 if os.geteuid() == 0 else 0o600)
    assert box.password("example-org") == "hunter:2\n"
    done = subprocess.run([BINARY, "config", "check", tmp_path / "waypost.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_found(box):
    done = box.run(check=69)
    assert "found 0" not in done.out and "no outgoing server" in done.err
    assert box.json(check=69)["gateways"] == []
    assert box.run("--write", box.top / "x.yaml", check=69) and not (box.top / "x.yaml").exists()


def test_usage(box):
    for args in (["--nonsense"], ["--from"], ["--from", "pine"], ["--passwords", "x"], ["word"]):
        assert box.run(*args).returncode == 64, args


# ---- does it work? ----

def accounts(box, ca, dovecot, postfix, command="echo s3cret"):
    """Of real servers: a login that is right, one that is wrong, one by a command, a relay; and one that is not there."""
    tls = f"tls on\ntls_trust_file {ca}\nauth on\nhost localhost\nport {dovecot.submission_port}\n"
    box.put(".msmtprc", f"account right\n{tls}user carol\npassword s3cret\nfrom carol@a.test\n"
            f"account wrong\n{tls}user dave\npassword hunter2\nfrom dave@b.test\n"
            f"account asks\n{tls}user erin\npasswordeval {command}\nfrom erin@c.test\n"
            f"account relay\nhost 127.0.0.1\nport {postfix.port}\nauth off\ntls off\nfrom x@d.test\n"
            "account gone\nhost 127.0.0.1\nport 1\nauth off\ntls off\nfrom x@e.test\n")


def outcomes(said):
    """By the account's own name."""
    name = {g["name"]: g["places"][0]["account"] for g in said["gateways"]}
    return {name[t["name"]]: t for t in said["tried"]}


def test_what_was_found_is_tried_without_a_login(box, ca, dovecot, postfix):
    ran = box.top / "ran"
    accounts(box, ca, dovecot, postfix, f"sh -c 'touch {ran}; echo s3cret'")
    tried = outcomes(box.json("--test", check=69))
    assert {k: t["works"] for k, t in tried.items()} == dict(right=True, wrong=True, asks=True, relay=True, gone=False)
    assert not any(t["login"] for t in tried.values()) and not ran.exists()
    assert tried["gone"]["layer"] == "connect" and "no_login" in tried["gone"]
    text = box.run("--test", check=69).out
    assert "tried up to the login (--login: with it); no mail was sent" in text
    assert "works, the login was not tried: " in text and "works, it wants no login: " in text
    assert "refused at once (connect)" in text and "waypost setup" in text
    assert "\ntried" not in box.run(check=0).out and box.json()["tried"] == []


def test_the_logins_are_tried_when_it_is_wished(box, ca, dovecot, postfix):
    accounts(box, ca, dovecot, postfix)
    done = box.run("--json", "--login", check=69)
    assert "s3cret" not in done.out + done.err
    tried = outcomes(json.loads(done.out))
    assert {k: (t["works"], t["login"]) for k, t in tried.items()} == dict(
        right=(True, True), wrong=(False, True), asks=(True, True), relay=(True, False), gone=(False, False))
    assert tried["wrong"]["fault"] == "login refused" and "app password" in tried["wrong"]["next"]


def test_all_that_was_found_works(box, ca, dovecot):
    box.put(".msmtprc", f"account default\nhost localhost\nport {dovecot.submission_port}\ntls on\ntls_trust_file {ca}\n"
            "auth on\nuser carol\npasswordeval false\n")
    said = box.json("--login", check=0)["tried"][0]
    assert said["works"] and not said["login"] and "its command gives no password" in said["no_login"]
    assert box.run("--test", "--write", box.top / "x.yaml", check=64) and not (box.top / "x.yaml").exists()


# ---- what should not be ----

GARBAGE = os.urandom(1000) * 10000


def cpu_seconds():
    """Of the programs that ended so far: what else the machine does is not counted."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("program", EXPECTED)
def test_garbage(program, tmp_path):
    """Each file of a sample as 10 MB of garbage, as text without line ends, cut in the middle, as a directory, as a pipe."""
    box = Box(tmp_path)
    files = [(p.relative_to(SAMPLES / program), p) for p in (SAMPLES / program).rglob("*") if p.is_file()]
    for rel, source in files:
        target = tmp_path / rel
        target.parent.mkdir(parents=True, exist_ok=True)
        for how in range(6):
            begin = cpu_seconds()
            text = source.read_bytes()
            if how == 0:
                target.write_bytes(GARBAGE)
            elif how == 1:
                target.write_bytes(text.replace(b"\n", b" ") * 2000 + b'"x' * 100000)
            elif how == 2:
                target.write_bytes(text[:len(text) * 2 // 3].rstrip(b"\n") + b' "')
            elif how == 3:
                target.write_bytes((text + b"\n") * min(2000, 4000000 // len(text)))
            elif how == 4:
                target.mkdir()
            else:
                os.mkfifo(target)
            done = box.run("--from", program)
            assert done.returncode in (0, 69) and cpu_seconds() - begin < 20, (rel, how)
            if how in (0, 4, 5) and done.returncode == 69 and len(files) == 1:
                assert "left to you" in done.out
            target.rmdir() if how == 4 else target.unlink()
        shutil.copy(source, target)
    assert box.run("--from", program).returncode == 0


def test_loops(box):
    """Files that include each other, and links that lead nowhere but to themselves."""
    box.put(".muttrc", "source ~/.muttrc\nfolder-hook x 'source ~/.muttrc'\nset smtp_url=smtp://a@smtp.example.org\n")
    box.put(".mailrc", "source ~/.mailrc\nset mta=smtp://smtp.example.org:587\n")
    box.put(".gitconfig", "[include]\npath = .gitconfig\n[sendemail]\nsmtpServer = smtp.example.org\n")
    box.put("/etc/smtpd.conf", 'include "/etc/smtpd.conf"\naction "a" relay host smtp.example.org\nmatch for any action "a"\n')
    box.put("/etc/postfix/main.cf", "a = $b\nb = $a $a\nrelayhost = $a[smtp.example.org]\n")
    os.symlink(".msmtprc", box.home / ".msmtprc")
    os.symlink("/", box.home / ".thunderbird")
    begin = cpu_seconds()
    out = box.run(check=0).out
    assert cpu_seconds() - begin < 20
    assert out.count("too deep") >= 3 and "example-org" in out
    assert re.search(r"\.msmtprc: .*(link|loop)", out, re.I)


def test_unreadable(tmp_path):
    """Why, and who could."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent == pathlib.Path("/tmp") or parent == pathlib.Path("/"):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    top = tmp_path / "top"
    top.mkdir()
    box = Box(top)
    box.put(".msmtprc", "account default\nhost smtp.example.org\n")
    box.put("/etc/postfix/main.cf", "relayhost = [relay.example.org]\nsmtp_sasl_auth_enable=yes\n"
            "smtp_sasl_password_maps=hash:/etc/postfix/sasl_passwd, hash:/etc/postfix/gone\n")
    box.put("/etc/postfix/sasl_passwd", "x y:hunter2\n").chmod(0o600)
    shutil.copy(BINARY, top / "waypost")
    wrap = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*wrap, top / "waypost", "import", "--home", box.home, "--root", box.root],
                          capture_output=True, text=True, env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "example-org" in done.stdout and not SECRET.search(done.stdout)
    assert not wrap or re.search(r"sasl_passwd: this user may not read it; root may", done.stdout)
    assert re.search(r"postfix/gone: there is no such file", done.stdout)


def test_hostile_values(box):
    """Names and values that would break out of the configuration, of a line, or of the terminal."""
    box.put(".msmtprc", 'account x\x1b[2J: y\nhost smtp.example.org\nauth on\ntls on\n'
            'user "a\"b: #\x07c%d"\npassword hunter\x1b2\nfrom "x\"@y\n'
            "account two\nhost smtp.two.example\nauth on\ntls on\nuser n%s:%n@{x}[y]!&*'\"|>\npassword hunter2\n"
            "account three\nhost bad host\nfrom a@b.example\naccount four\nhost smtp..example\nport 99999\n"
            f"account five\nhost {'a' * 300}.example\naccount six\nhost b\u00fccher.example\nport 587\n"
            f"account seven\nhost [2001:db8::1]:587\naccount eight\nhost 2001:db8::2\nfrom {'x' * 2000}@example.org\n")
    found = box.json()
    assert {g["host"] for g in found["gateways"]} >= {"smtp.two.example", "xn--bcher-kva.example", "2001:db8::1",
                                                      "2001:db8::2"}
    assert {g["host"] for g in found["left_out"]} >= {"bad host", "smtp..example"}
    text = box.write()
    assert "\x1b" not in text and "\x1b" not in box.run().out
    assert 'url: "smtp+starttls://n%25s%3A%25n@%7Bx%7D%5By%5D%21%26%2A%27%22%7C%3E@smtp.two.example:25"' in text


def test_many(box):
    box.put(".msmtprc", "".join(f"account a{i}\nhost smtp.h{i}.example\n" for i in range(5000)))
    box.put("/etc/postfix/main.cf", "transport_maps = hash:/etc/postfix/t\n")
    box.put("/etc/postfix/t", "".join(f"d{i}.example smtp:[h{i}.example]\n" for i in range(5000)))
    out = box.run(check=0).out
    assert "too many servers" in out
    box.write()
