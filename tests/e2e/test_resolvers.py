# SPDX-License-Identifier: ISC
"""The name servers are those of /etc/resolv.conf as it stands now, not as it stood at the start."""
import os
import subprocess

import pytest

from lib.mail import message, name_of
from lib.names import Names

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes root for a mount namespace and port 53")
OLD, NEW = (f"127.77.{os.getpid() % 250}.{n}" for n in (1, 2))  # another run has others


@pytest.fixture
def resolv_conf(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {OLD}\n")
    own = ["unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh"]
    if subprocess.run([*own, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces")
    return file, own


def test_a_changed_name_server_is_followed(make, tmp_path, resolv_conf):
    file, own = resolv_conf
    p = make.peer(host="127.0.0.2")
    servers = [Names(tmp_path / "old", {"one.test": "@ MX 10 mx\nmx A 127.0.0.2\n"}, ["two.test"], OLD, 53),
               Names(tmp_path / "new", {"two.test": "@ MX 10 mx\nmx A 127.0.0.2\n"}, [], NEW, 53)]
    try:
        for s in servers:
            s.start()
        w = make.waypost({"direct": {"tls": "off", "port": p.port}}, wrap=own, dns={"timeout": "2s"},
                         queue={"retry": ["1s"]})
        one, two = message(), message()
        w.send(one, rcpt="u@one.test")
        p.await_message(name_of(one))
        waiting = w.send(two, rcpt="u@two.test")
        w.await_event("deferred", "class dns", id=waiting)
        file.write_text(f"nameserver {NEW}\n")
        w.run("queue", "retry", waiting, check=0)
        p.await_message(name_of(two))
    finally:
        for s in servers:
            s.stop()
