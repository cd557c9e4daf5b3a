# SPDX-License-Identifier: ISC
"""A system bus with a NetworkManager that says what the test wants (python-dbusmock)."""
import os
import socket
import subprocess
import sys

import dbus
import dbusmock

from .wait import until

NAME = "org.freedesktop.NetworkManager"
TOP = "/org/freedesktop/NetworkManager"
ACTIVE = NAME + ".Connection.Active"
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*"/></policy></busconfig>
"""


class Bus:
    def __init__(self, directory):
        self.path = directory / "bus"
        self.file = directory / "bus.conf"
        self.file.write_text(CONFIG.format(path=self.path))
        self.address = f"unix:path={self.path}"
        self.process = None
        self.start()

    def start(self):
        self.path.unlink(missing_ok=True)
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={self.file}", "--nofork", "--nopidfile",
                                         "--nosyslog"], stderr=subprocess.DEVNULL)
        until("a bus", self._listens)

    def _listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self.path)) == 0

    def stop(self):
        self.process.kill()
        self.process.wait()


class NetworkManager:
    def __init__(self, bus):
        self.bus = bus
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dbusmock", "--system", "--template", "networkmanager"],
            env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.link = dbus.bus.BusConnection(self.bus.address)
        until("NetworkManager", lambda: self.link.name_has_owner(NAME))
        self.top = self.at(TOP)
        until("its objects", self._answers)

    def _answers(self):
        try:
            return self.top.Get(NAME, "Version", dbus_interface=dbus.PROPERTIES_IFACE)
        except dbus.DBusException:
            return None

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.link.close()

    def at(self, path):
        return self.link.get_object(NAME, path, introspect=False)

    def mock(self, name, *args):
        return getattr(self.top, name)(*args, dbus_interface=dbusmock.MOCK_IFACE)

    def say(self, **properties):
        """Connectivity=2, Metered=1: with the signal."""
        for name, value in properties.items():
            try:
                self.mock("SetProperty", TOP, NAME, name, dbus.UInt32(value))
            except dbus.DBusException:  # one its version has not
                self.top.AddProperty(NAME, name, dbus.UInt32(value), dbus_interface=dbusmock.MOCK_IFACE)
                self.mock("SetProperty", TOP, NAME, name, dbus.UInt32(value))

    def wired(self, interface, name, uuid, state=2, kind="802-3-ethernet", **groups):
        """An active connection over a device of its own; its path. `groups` of settings beside the common one."""
        device = self.mock("AddEthernetDevice", "dev" + interface, interface, dbus.Int32(100))
        return self.over(device, interface, name, uuid, state, kind, **groups)

    def over(self, device, label, name, uuid, state=2, kind="vpn", **groups):
        groups["connection"] = {"id": name, "uuid": uuid, "type": kind}
        settings = dbus.Dictionary({group: dbus.Dictionary(values, signature="sv") for group, values in groups.items()},
                                   signature="sa{sv}")
        connection = self.at(TOP + "/Settings").AddConnection(settings, dbus_interface=NAME + ".Settings")
        return self.mock("AddActiveConnection", [device], connection, "/", "wired" + label, dbus.UInt32(state))

    def wireless(self, interface, ssid, state=2):
        device = self.mock("AddWiFiDevice", "dev" + interface, interface, dbus.Int32(100))
        point = self.mock("AddAccessPoint", device, "point", ssid, "00:23:F8:7E:12:BB", dbus.UInt32(2),
                          dbus.UInt32(2425), dbus.UInt32(5400), dbus.Byte(82), dbus.UInt32(0x100))
        connection = self.mock("AddWiFiConnection", device, "wlan", ssid, "")
        return self.mock("AddActiveConnection", [device], connection, point, "radio" + interface, dbus.UInt32(state))

    def state(self, active, state):
        self.at(active).UpdateProperties(
            ACTIVE, dbus.Dictionary({"State": dbus.UInt32(state, variant_level=1)}, signature="sv"),
            dbus_interface=dbusmock.MOCK_IFACE)

    def rename(self, ssid):
        """The octets of the WLAN's name."""
        octets = dbus.Array([dbus.Byte(b) for b in ssid], signature="y", variant_level=1)
        self.at(TOP + "/AccessPoint/point").UpdateProperties(
            NAME + ".AccessPoint", dbus.Dictionary({"Ssid": octets}, signature="sv"),
            dbus_interface=dbusmock.MOCK_IFACE)

    def drop(self, interface, active):
        self.mock("RemoveActiveConnection", TOP + "/Devices/dev" + interface, active)
