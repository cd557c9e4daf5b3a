# SPDX-License-Identifier: ISC
"""A real name server (NSD) with zones of the test's own."""
import pathlib
import subprocess

import dns.message
import dns.query

from .wait import free_port, until

HEAD = """$ORIGIN {zone}.
$TTL 5
@ SOA ns.{zone}. root.{zone}. 1 3600 600 86400 5
@ NS ns.{zone}.
ns A 127.0.0.1
"""


class Names:
    def __init__(self, top, zones, broken=(), host="127.0.0.1", port=None):
        """zones: {"sink.test": "@ MX 10 mx\\nmx A 127.0.0.2\\n"}; broken ones answer SERVFAIL."""
        self.top = pathlib.Path(top)
        self.top.mkdir(parents=True)
        self.host, self.port = host, port or free_port()
        conf = [f"""server:
  ip-address: {self.host}@{self.port}
  username: ""
  chroot: ""
  zonesdir: "{self.top}"
  database: ""
  pidfile: "{self.top}/pid"
  xfrdfile: "{self.top}/xfrd"
  zonelistfile: "{self.top}/list"
  xfrdir: "{self.top}"
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
"""]
        for zone in [*zones, *broken]:
            conf.append(f'zone:\n  name: "{zone}"\n  zonefile: "{zone}"\n')
        for zone, text in zones.items():
            (self.top / zone).write_text(HEAD.format(zone=zone) + text)
        (self.top / "nsd.conf").write_text("".join(conf))
        self.zones = zones
        self.process = None

    def start(self):
        self.log = open(self.top / "log", "ab")
        self.process = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", str(self.top / "nsd.conf")],
                                        stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        zone = next(iter(self.zones))
        query = dns.message.make_query(zone, "SOA")

        def answers():
            assert self.process.poll() is None, (self.top / "log").read_text()
            try:
                return dns.query.udp(query, self.host, timeout=0.2, port=self.port).answer
            except (OSError, dns.exception.Timeout):
                return None
        until("the name server answers", answers)
        return self

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None
            self.log.close()

    def server(self):
        return f"{self.host}:{self.port}"
