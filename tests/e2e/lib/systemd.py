# SPDX-License-Identifier: ISC
"""A machine with systemd as its first process: namespaces of its own over a copy-on-write view of this one's files.

    machine = Machine(directory).boot()
    machine.run("systemctl", "start", "waypost")
    machine.reboot()            # the files stay
    with machine.network:
        ...                     # sockets made by this thread are on it

Nothing of it is seen outside: the mounts are private, its files are in memory, and it ends with its first process.
"""
import os
import pathlib
import subprocess

from .netns import Netns
from .wait import until

# What a machine without hardware, kernel or users at the console does without.
BOOT = r"""
set -e
mount --make-rprivate /
root=$1/root
mkdir -p "$1/up" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for d in null zero full random urandom tty; do
    : >"$root/dev/$d"
    mount --bind "/dev/$d" "$root/dev/$d"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
if [ ! -e "$1/installed" ]; then
    rm -rf "$root"/etc/systemd/system/*.wants "$root"/lib/systemd/system/*.target.wants "$root/var/log/journal"
    mkdir "$root/lib/systemd/system/sysinit.target.wants"
    for unit in systemd-journald.service systemd-tmpfiles-setup.service; do
        ln -s "../$unit" "$root/lib/systemd/system/sysinit.target.wants/$unit"
    done
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    : >"$1/installed"
fi
# As for any first process: what is mounted by a child is seen by all.
mount --make-rshared "$root"
cd "$root"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=waypost chroot . /lib/systemd/systemd --system
"""


def _unified():
    """Where the unified hierarchy of control groups is mounted; None: nowhere."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    return None


def missing():
    """Why there is none here; None when there can be one."""
    if os.geteuid() != 0:
        return "takes root"
    if not pathlib.Path("/lib/systemd/systemd").exists():
        return "no systemd (packaging/test-deps)"
    if _unified() is None:
        return "no unified hierarchy of control groups"
    try:
        probe = _unified() / f"waypost-try-{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
        # A tmpfs, as an overlay takes no overlay for its upper side.
        script = "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && " \
                 "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r && mount -t cgroup2 c /mnt/u"
        done = subprocess.run(["unshare", "--mount", "--cgroup", "sh", "-ec", script], capture_output=True)
    except OSError as e:
        return f"no machine in a machine: {e}"
    return None if done.returncode == 0 else f"no machine in a machine: {done.stderr.decode().strip()}"


class Machine:
    def __init__(self, top):
        self.top = pathlib.Path(top)  # holds the mounted memory
        self.top.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "waypost-machine", self.top], check=True)
        self.network = Netns("machine")
        self.group = _unified() / f"waypost-{os.getpid()}-{self.network.name}"
        self.process = None

    def boot(self):
        """Up to the point where everything that starts with the machine has been started."""
        self.group.mkdir(exist_ok=True)
        enter = f"echo $$ >{self.group}/cgroup.procs; exec \"$@\""
        with self.network:
            self.process = subprocess.Popen(
                ["sh", "-c", enter, "sh", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc",
                 "--cgroup", "sh", "-c", BOOT, "sh", self.top],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until("systemd to be there", self._first)
        until("systemd to answer", lambda: self.run("systemctl", "show", "--property=Version").returncode == 0)
        self.run("systemctl", "is-system-running", "--wait")
        return self

    def _first(self):
        """The first process of the machine, as it is known here, once it is systemd."""
        if self.process.poll() is not None:
            raise AssertionError(f"the machine ended: {self.process.stderr.read().decode()}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if children and pathlib.Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
            self.first = children[0]
            return True
        return False

    def run(self, *command, check=None, input=None):
        done = subprocess.run(["nsenter", "-t", self.first, "-a", "-r", "-w", "env", "-i",
                               "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *map(str, command)],
                              capture_output=True, input=input, timeout=120)
        done.out, done.err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        if check is not None:
            assert done.returncode == check, f"{command}: {done.returncode}\n{done.out}{done.err}\n{self.journal()}"
        return done

    def journal(self, unit="waypost", n=40):
        return self.run("journalctl", "--no-pager", "-u", unit, "-n", n).out

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit, check=0).out.strip()

    def write(self, path, text, mode=0o644):
        """A file of the machine."""
        self.run("sh", "-c", f"mkdir -p \"${{1%/*}}\" && umask 077 && cat >\"$1\" && chmod {mode:o} \"$1\"", "sh", path,
                 input=text if isinstance(text, bytes) else text.encode(), check=0)

    def _end(self):
        self.process.kill()  # and so its only child, and so all of them
        self.process.wait()
        self.process.stderr.close()
        until("its processes to end", lambda: not (self.group / "cgroup.procs").read_text()
              and self._empty(self.group))

    @staticmethod
    def _empty(group):
        return "populated 0" in (group / "cgroup.events").read_text()

    def reboot(self):
        """As by the power switch: without a word to anybody."""
        self._end()
        return self.boot()

    def close(self):
        if self.process is not None:
            self._end()
        for group, _, _ in os.walk(self.group, topdown=False):
            os.rmdir(group)
        self.network.close()
        subprocess.run(["umount", self.top], check=True)
