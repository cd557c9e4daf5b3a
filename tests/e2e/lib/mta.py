# SPDX-License-Identifier: ISC
"""Real mail servers from Debian's packages, as upstreams.

The packages exclude each other, so none is installed: each is unpacked into a cache and laid over
the machine's own files by an overlay in a mount and process namespace of its own. What they
deliver is in maildirs under `mail`, seen from both sides. The end of the process ends the namespace.
"""
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from .mail import from_token, name_of
from .wait import answers, free_port, until
from .waypost import ROOT

CACHE = pathlib.Path(os.environ.get("E2E_CACHE", ROOT / "build" / "mta"))

ENTER = r"""set -e
# Layers must not lie within each other, so the upper one is a file system of its own.
mount -t tmpfs tmpfs "$TOP/over"
mkdir "$TOP/over/upper" "$TOP/over/work"
cp -a "$TREE/." "$TOP/etc" "$TOP/over/upper/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$TOP/over/upper,workdir=$TOP/over/work" "$TOP/root"
mount --bind "$TOP/mail" "$TOP/root/srv"
mount --rbind /dev "$TOP/root/dev"
mount -t proc proc "$TOP/root/proc"
mount -t tmpfs tmpfs "$TOP/root/run"
mount -t tmpfs tmpfs "$TOP/root/tmp"
exec chroot "$TOP/root" /bin/sh -c "$INSIDE"
"""


def unpacked(name, packages):
    """The tree of these packages together, from the cache or Debian's archive."""
    tree = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:  # another run may be at it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            unpack(name, packages, tree)
    return tree


def unpack(name, packages, tree):
    work = pathlib.Path(tempfile.mkdtemp(prefix=name + ".", dir=CACHE))
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages],
                   cwd=work, check=True)
    new = work / "tree"
    for package in work.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, new], check=True)
    # On a merged system /lib is a link; a directory there would hide the C library.
    if (new / "lib").is_dir():
        shutil.copytree(new / "lib", new / "usr/lib", dirs_exist_ok=True)
        shutil.rmtree(new / "lib")
    new.rename(tree)
    shutil.rmtree(work)


class Mta:
    name, packages, users = None, (), ()

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.port = free_port()
        self.process = None
        for part in ("etc", "over", "root", "mail"):
            (self.top / part).mkdir(parents=True)
        self.mail = self.top / "mail"
        self.log = self.top / "log"
        self.seen = {}
        # Who delivers is one user, known inside only.
        uid = 40000
        passwd, group = pathlib.Path("/etc/passwd").read_text(), pathlib.Path("/etc/group").read_text()
        for user in ("vmail", *self.users):
            uid += 1
            passwd += f"{user}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n"
            group += f"{user}:x:{uid}:\n"
        self.put("etc/passwd", passwd)
        self.put("etc/group", group)
        os.chown(self.mail, 40001, 40001)
        self.top.chmod(0o755)

    def put(self, path, text):
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def start(self):
        env = dict(os.environ, TREE=str(unpacked(self.name, self.packages)), TOP=str(self.top),
                   INSIDE=self.command(), PATH="/usr/sbin:/usr/bin:/sbin:/bin")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                 "sh", "-c", ENTER], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def await_ready(self):
        def ready():
            assert self.process.poll() is None, f"{self.name} ended:\n{self.text()}"
            return answers(self.port)
        until(f"{self.name} greets on port {self.port}: {self.log}", ready)
        return self

    def stop(self):
        if self.process is not None:
            # The namespace's first process, and with it all. It does not end with its parent once it has changed its user.
            pid = self.process.pid
            for first in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(first), signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.process = None

    def text(self):
        return self.log.read_text(errors="replace")[-4000:]

    # ---- what was delivered ----

    def messages(self):
        """token: [content as stored], of all mailboxes."""
        for folder in self.mail.glob("**/new"):
            for entry in os.scandir(folder):
                if entry.path in self.seen:
                    continue
                data = pathlib.Path(entry.path).read_bytes()
                self.seen[entry.path] = data
        found = {}
        for data in self.seen.values():
            found.setdefault(name_of(data), []).append(data)
        return found

    def await_message(self, name, seconds=60):
        """What was stored with this token, from the token on, with LF line ends."""
        data = until(f"{self.name} delivers {name}", lambda: self.messages().get(name), seconds)[0]
        return from_token(data).replace(b"\r\n", b"\n")

    def url(self, **_):
        return f"smtp://127.0.0.1:{self.port}"

    def gateway(self, **more):
        return {"url": self.url(), "tls": "off", **more}


class Postfix(Mta):
    name, packages, users = "postfix", ("postfix",), ("postfix", "postdrop")
    extra = ""

    def command(self):
        self.put("etc/postfix/main.cf", f"""
compatibility_level = 3.6
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
queue_directory = /var/spool/postfix
maillog_file = /dev/stdout
message_size_limit = 0
virtual_mailbox_limit = 0
mailbox_size_limit = 0
line_length_limit = 4096
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:box/
virtual_mailbox_base = /srv
virtual_uid_maps = static:40001
virtual_gid_maps = static:40001
smtputf8_enable = yes
smtpd_client_connection_count_limit = 0
default_process_limit = 50
in_flow_delay = 0
{self.extra}""")
        lines = [f"127.0.0.1:{self.port} inet n - n - - smtpd",
                 "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
                 "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                 "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce",
                 "proxymap unix - - n - - proxymap", "error unix - - n - - error",
                 "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil",
                 "tlsmgr unix - - n 1000? 1 tlsmgr", "postlog unix-dgram n - n - 1 postlogd",
                 "showq unix n - n - - showq", "flush unix n - n 1000? 0 flush"]
        self.put("etc/postfix/master.cf", "\n".join(lines) + "\n")
        self.put("etc/postfix/dynamicmaps.cf", "")
        return "chown postfix /var/lib/postfix; chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue; chmod g+s /usr/sbin/postdrop /usr/sbin/postqueue; exec /usr/sbin/postfix start-fg"


class Exim(Mta):
    name, packages, users = "exim", ("exim4-daemon-light", "exim4-base"), ("Debian-exim",)

    def command(self):
        self.put("etc/exim4/exim4.conf", """
primary_hostname = exim.test
domainlist local_domains = *
acl_smtp_rcpt = accept
acl_smtp_data = accept
smtp_accept_max = 100
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 100M
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts =
keep_environment =
never_users =
qualify_domain = exim.test
begin acl
accept:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = /srv/box
  maildir_format
  user = vmail
  group = vmail
""")
        return ("mkdir -p /var/spool/exim4 /var/log/exim4; chown -R Debian-exim:Debian-exim /var/spool/exim4 /var/log/exim4; "
                f"exec /usr/sbin/exim4 -bdf -q1h -oX '<; [127.0.0.1]:{self.port}' -oP /run/exim.pid")


class OpenSmtpd(Mta):
    name, packages, users = "opensmtpd", ("opensmtpd",), ("opensmtpd", "opensmtpq")

    def command(self):
        self.put("etc/smtpd.conf", f"""
smtp max-message-size 100M
table boxes {{ "@" = "vmail" }}
listen on 127.0.0.1 port {self.port} hostname opensmtpd.test
action "box" maildir "/srv/box" virtual <boxes>
match from any for any action "box"
""")
        return "install -d -m 711 /var/spool/smtpd /var/empty /run/opensmtpd /var/run/opensmtpd; exec /usr/sbin/smtpd -d"


class Dovecot(Mta):
    """LMTP into maildirs, and submission with STARTTLS and login, relayed to another server."""

    name = "dovecot"
    packages = ("dovecot-core", "dovecot-lmtpd", "dovecot-submissiond")
    users = ("dovecot", "dovenull")

    def __init__(self, top, relay, certificate):
        super().__init__(top)
        self.relay, self.certificate = relay, certificate
        self.submission_port = free_port()

    def command(self):
        cert = self.put("etc/dovecot/cert.pem", self.certificate.read_text())
        cert.chmod(0o600)
        self.put("etc/dovecot/dovecot.conf", f"""
protocols = lmtp submission
listen = 127.0.0.1
base_dir = /run/dovecot
log_path = /dev/stderr
ssl = required
ssl_cert = </etc/dovecot/cert.pem
ssl_key = </etc/dovecot/cert.pem
mail_location = maildir:/srv/%n
mail_max_userip_connections = 0
lmtp_save_to_detail_mailbox = no
recipient_delimiter = +
auth_mechanisms = plain login
passdb {{
  driver = static
  args = password=s3cret
}}
userdb {{
  driver = static
  args = uid=vmail gid=vmail home=/srv/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.port}
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {self.submission_port}
  }}
}}
submission_relay_host = 127.0.0.1
submission_relay_port = {self.relay.port}
submission_max_mail_size = 100M
hostname = dovecot.test
""")
        return "mkdir -p /run/dovecot /var/lib/dovecot; exec /usr/sbin/dovecot -F"

    def await_ready(self):
        super().await_ready()
        until("dovecot's submission greets", lambda: answers(self.submission_port))
        return self

    def gateway(self, **more):
        return {"url": f"lmtp://127.0.0.1:{self.port}", "tls": "off", **more}

    def submission(self, ca, **more):
        return {"url": f"smtp+starttls://carol@localhost:{self.submission_port}",
                "password": "s3cret", "ca": str(ca), **more}
