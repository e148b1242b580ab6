"""A virtual machine's disk, kernel and initrd: this machine's own distribution, made by mmdebstrap.

Nothing in it is podwire's, and nothing secret: what a machine is called, its address and who may enter come with the
kernel's command line. It is kept in build/, under a digest of what follows here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
#: Kernels that are made for virtual machines, by the ID of os-release(5).
KERNELS = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
PACKAGES = ("systemd-sysv", "udev", "openssh-server", "python3", "iproute2")
TOOLS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "qemu-system-x86_64": "qemu-system-x86"}
_SIZE = "1500M"
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")

_BEGIN = """#!/bin/sh
# From the kernel's command line: vm.address=ADDRESS/LENGTH vm.key=KEY.
for word in $(cat /proc/cmdline); do
    case $word in
        vm.address=*) address=${word#*=} ;;
        vm.key=*) key=${word#*=} ;;
    esac
done
mkdir -p /root/.ssh /run/systemd/network
printf 'ssh-ed25519 %s\\n' "$key" >/root/.ssh/authorized_keys
printf '[Match]\\nName=en* eth*\\n[Network]\\nAddress=%s\\nLinkLocalAddressing=no\\n' "$address" \\
    >/run/systemd/network/10-vm.network
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
"""
_FILES = {
    "usr/local/sbin/vm-begin": _BEGIN,
    "etc/systemd/system/vm-begin.service": """[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service
Before=systemd-networkd.service ssh.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/vm-begin
[Install]
WantedBy=sysinit.target
""",
    "etc/systemd/system/vm-ready.service": """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo vm is ready >/dev/ttyS0'
[Install]
WantedBy=default.target
""",
    "etc/fstab": "/dev/vda / ext4 rw,noatime 0 0\n",
    "etc/ssh/sshd_config.d/vm.conf": "UseDNS no\nHostKey /etc/ssh/ssh_host_ed25519_key\n",
}


class Image(NamedTuple):
    """Paths of what QEMU starts."""

    kernel: Path
    initrd: Path
    disk: Path


def missing() -> str:
    """Why no machine can be started here; empty if one can."""
    release = _release()
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if packages:
        return f"needs virtual machines: apt-get install {' '.join(packages)}"
    if os.uname().machine != "x86_64" or release.get("ID") not in KERNELS:
        return f"makes images of Debian and Ubuntu on x86_64 only, and this is {release.get('ID')} {os.uname().machine}"
    return ""


def image() -> Image:
    """The image; made the first time."""
    folder = ROOT / "build" / "vm" / _digest()
    made = Image(folder / "vmlinuz", folder / "initrd.img", folder / "root.img")
    if folder.exists():
        return made
    temporary = folder.with_name("new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    root = temporary / "root"
    release = _release()
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=directory"]
    command += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    command += [f"--include={','.join((*PACKAGES, KERNELS[release['ID']]))}", release["VERSION_CODENAME"], str(root)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    _configure(root)
    for name in ("vmlinuz", "initrd.img"):
        (newest,) = root.glob(f"boot/{name}-*")
        shutil.copyfile(newest, temporary / name)
    disk = str(temporary / "root.img")
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), disk, _SIZE]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    shutil.rmtree(root)
    temporary.rename(folder)
    return made


def _configure(root: Path) -> None:
    for name, text in _FILES.items():
        (root / name).write_text(text)
    (root / "usr/local/sbin/vm-begin").chmod(0o755)
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    units = ("vm-begin.service", "vm-ready.service", "systemd-networkd.service")
    subprocess.run(["chroot", str(root), "systemctl", "enable", "--quiet", *units], check=True)


def _release() -> Dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _digest() -> str:
    release = _release()
    text = repr((PACKAGES, KERNELS, _SIZE, _LEFT_OUT, _FILES, release.get("ID"), release.get("VERSION_CODENAME")))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
