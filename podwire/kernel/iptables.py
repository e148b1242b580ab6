"""iptables' filter table, by its own commands: rules of others live there, and only iptables may write between them.

One ``iptables-save`` to look, one ``iptables-restore --noflush`` to change: a change is one transaction.
"""

from __future__ import annotations

import os

from ..errors import KernelError, UnsupportedError
from ..lean import TYPE_CHECKING
from .namespace import Namespace
from .netlink import attributes
from .nft import GETCHAIN, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

_FAMILY = {4: 2, 6: 10}
_COMMANDS = {4: "iptables", 6: "ip6tables"}
_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_DROP = bytes(4)


def forward_drops(namespace: Namespace, version: int) -> bool:
    """Whether iptables' FORWARD chain drops what nothing accepts, as Docker sets it. No other table can allow that."""
    chains = _chains(namespace, version)
    if "FORWARD" in chains:
        return chains["FORWARD"] == _DROP
    return _is_legacy(version) and any(line.startswith(":FORWARD DROP") for line in saved(version))


def has_chain(namespace: Namespace, version: int, name: str) -> bool:
    """Whether the filter table has a chain, without executing anything where iptables was never used."""
    if name in _chains(namespace, version):
        return True
    return _is_legacy(version) and any(line.startswith(f":{name} ") for line in saved(version))


def _chains(namespace: Namespace, version: int) -> Dict[str, bytes]:
    """Chains of the filter table that iptables-nft made, and their policies."""
    found: Dict[str, bytes] = {}
    try:
        socket = namespace.nftables(_FAMILY[version])
        answers = socket.dump(GETCHAIN, socket.generic)
    except KernelError:  # no nf_tables
        return found
    for _, payload in answers:
        values = dict(attributes(payload, 4, len(payload)))
        if values.get(NFTA_CHAIN_TABLE) == b"filter\0":
            name = values.get(NFTA_CHAIN_NAME, b"").rstrip(b"\0").decode(errors="replace")
            found[name] = values.get(NFTA_CHAIN_POLICY, b"\xff")
    return found


def _is_legacy(version: int) -> bool:
    """Whether the kernel's older tables are in use (in the caller's namespace)."""
    try:
        with open(f"/proc/thread-self/net/{'ip' if version == 4 else 'ip6'}_tables_names") as file:
            return "filter" in file.read().split()
    except OSError:
        return False


def saved(version: int) -> List[str]:
    """The lines of ``iptables-save -t filter``."""
    return _run(version, "save", ["-t", "filter"], b"").splitlines()


def restore(version: int, lines: Sequence[str]) -> None:
    """Do all lines (``-A CHAIN ...``, ``-D``, ``-N``, ``-I``) in the filter table, or none."""
    if lines:
        _run(version, "restore", ["--noflush", "-w", "10"], "\n".join(["*filter", *lines, "COMMIT", ""]).encode())


def _find(name: str) -> Optional[str]:
    for folder in f"{os.environ.get('PATH', '')}:{_PLACES}".split(":"):
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            return path
    return None


def _run(version: int, word: str, arguments: Sequence[str], stdin: bytes) -> str:
    legacy = "-legacy" if _is_legacy(version) else ""
    name = f"{_COMMANDS[version]}{legacy}-{word}"
    path = _find(name) or _find(f"{_COMMANDS[version]}-{word}")
    if path is None:
        raise UnsupportedError(f"failed to execute {name}: there is none", 2, "install iptables, or use nftables")
    files = [os.memfd_create(each, os.MFD_CLOEXEC) for each in ("stdin", "stdout", "stderr")]
    try:
        os.write(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        environ = {**os.environ, "PATH": _PLACES}
        pid = os.posix_spawn(path, [path, *arguments], environ, file_actions=actions)
        status = os.waitpid(pid, 0)[1]
        stdout, stderr = (os.pread(each, os.fstat(each).st_size, 0).decode(errors="replace") for each in files[1:])
    finally:
        for each in files:
            os.close(each)
    if status:
        raise KernelError(f"failed to run {name}: {' '.join(stderr.split())}")
    return stdout
