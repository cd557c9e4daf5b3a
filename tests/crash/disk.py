# SPDX-License-Identifier: ISC
"""Small file systems of one's own: ext4 that loses its power, and disks that get full."""
import fcntl
import os
import pathlib
import struct
import subprocess

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2  # what was not synced is gone

# Turns every sync into nothing, for the control that must lose mail.
NO_SYNC_C = """
int fsync(int fd) { (void)fd; return 0; }
int fdatasync(int fd) { (void)fd; return 0; }
int syncfs(int fd) { (void)fd; return 0; }
int sync_file_range(int fd, long long at, long long n, unsigned f) { (void)fd; (void)at; (void)n; (void)f; return 0; }
"""


def no_sync_object(path):
    made = pathlib.Path(path) / "nosync.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(made), "-"], input=NO_SYNC_C.encode(), check=True)
    return made


class Disk:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir()
        self.mounted = False
        self.mount()

    def mount(self):
        subprocess.run(["mount", *self.mount_args(), str(self.path)], check=True)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            subprocess.run(["umount", str(self.path)], check=True)
            self.mounted = False

    def fill(self, name="somebody-elses", leave=0):
        """Another program takes all the space."""
        with open(self.path / name, "wb") as out:
            s = os.fstatvfs(out.fileno())
            size = s.f_bavail * s.f_frsize - leave
            while size > 0:
                try:
                    os.posix_fallocate(out.fileno(), 0, size)
                    break
                except OSError:
                    size -= 1 << 20
            if not leave:
                try:
                    out.seek(0, os.SEEK_END)
                    while out.write(bytes(4096)):
                        out.flush()
                except OSError:
                    pass
        return self.path / name


class Ext4(Disk):
    def __init__(self, path, mib):
        self.image = pathlib.Path(str(path) + ".img")
        with open(self.image, "wb") as out:
            out.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(self.image)], check=True)
        super().__init__(path)

    def mount_args(self):
        return ["-o", "loop", str(self.image)]

    def cut(self):
        """The power goes: nothing that was not synced reaches the disk any more."""
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)


class Tmpfs(Disk):
    def __init__(self, path, mib, inodes=None):
        self.options = f"size={mib}m" + (f",nr_inodes={inodes}" if inodes else "")
        super().__init__(path)

    def mount_args(self):
        return ["-t", "tmpfs", "-o", self.options, "tmpfs"]
