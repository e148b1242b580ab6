"""iptables' tables, by its own commands: rules of others live there, and only iptables may write between them.

One ``iptables-save`` to look, one ``iptables-restore --noflush`` to change: a change is one transaction. All functions
are about the network namespace that the caller is in.
"""

from __future__ import annotations

import os

from ...errors import KernelError, UnsupportedError
from ...files import write_all
from ...model.wire import attribute, attributes
from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..namespaces import Namespace
from ..nftables.masquerade import GETCHAIN, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, List, Optional, Sequence

_FAMILY = {4: b"\2\0\0\0", 6: b"\n\0\0\0"}  # struct nfgenmsg
_INET = 1
_COMMANDS = {4: "iptables", 6: "ip6tables"}
_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_DROP = bytes(4)
#: What a kernel without nf_tables answers, to a request or to the socket: ENOENT, EINVAL, EPROTONOSUPPORT, EOPNOTSUPP.
_NO_NF_TABLES = (2, 22, 93, 95)


class Table(NamedTuple):
    """A table of one IP version. ``flavour``: ``nft`` or ``legacy``, or "" for that of the command ``iptables``."""

    version: int
    name: str
    flavour: str = ""

    def saved(self, *, counters: bool = False) -> List[str]:
        """The lines of ``iptables-save``; with ``counters`` of each rule (``[packets:bytes]``) before it."""
        return self._run("save", [*(["-c"] if counters else []), "-t", self.name], b"").splitlines()

    def restore(self, lines: Sequence[str]) -> None:
        """Do all lines (``-A CHAIN ...``, ``-D``, ``-N``, ``-I``, ``-X``), or none."""
        if not lines:
            return
        text = [f"*{self.name}", *lines, "COMMIT", ""]
        try:
            self._run("restore", ["--noflush", "-w", "10"], "\n".join(text).encode())
        except KernelError as error:
            number = _line_of(error.message)
            if 1 <= number <= len(lines) + 1:  # not COMMIT, which is refused as a whole
                error.hint = error.hint or f"it refuses: {text[number - 1]}"
            raise

    def has(self, chain: str, words: Sequence[str]) -> bool:
        """Whether a rule is there, in whatever words iptables-save has it (``iptables -C``)."""
        try:
            self._run("", ["-w", "10", "-t", self.name, "-C", chain, *words], b"")
        except UnsupportedError:
            raise
        except KernelError:
            return False
        return True

    def _run(self, word: str, arguments: Sequence[str], stdin: bytes) -> str:
        plain = "-".join(filter(None, (_COMMANDS[self.version], word)))
        name = "-".join(filter(None, (_COMMANDS[self.version], self.flavour, word)))
        path = _find(name) or _find(plain)
        if path is None:
            raise UnsupportedError(f"failed to execute {name}: there is none", 2, "install iptables, or use nftables")
        return _output(name, [path, *arguments], stdin)


def forward_drops(namespace: Namespace, version: int) -> bool:
    """Whether iptables' FORWARD chain drops what nothing accepts, as Docker sets it. No other table can allow that."""
    chains = _chains(namespace, version, "filter")
    if "FORWARD" in chains:
        return chains["FORWARD"] == _DROP
    table = Table(version, "filter", "legacy")
    return has_legacy(version, "filter") and any(line.startswith(":FORWARD DROP") for line in table.saved())


def has_chain(namespace: Namespace, version: int, table: str, name: str) -> bool:
    """Whether a table has a chain, without executing anything where iptables was never used."""
    if has_nft_chain(namespace, version, table, name):
        return True
    saved = Table(version, table, "legacy").saved
    return has_legacy(version, table) and any(line.startswith(f":{name} ") for line in saved())


def has_nft_chain(namespace: Namespace, version: int, table: str, name: str) -> bool:
    """Whether iptables-nft made a chain."""
    request = attribute(NFTA_CHAIN_TABLE, table.encode() + b"\0") + attribute(NFTA_CHAIN_NAME, name.encode() + b"\0")
    try:
        return namespace.nftables(_INET).get(GETCHAIN, _FAMILY[version] + request) is not None
    except KernelError as error:
        if error.errno in _NO_NF_TABLES:
            return False
        raise


def has_legacy(version: int, table: str) -> bool:
    """Whether the kernel's older tables are in use."""
    try:
        with open(f"/proc/thread-self/net/{'ip' if version == 4 else 'ip6'}_tables_names") as file:
            return table in file.read().split()
    except OSError:
        return False


def flavours(namespace: Namespace, version: int, table: str) -> List[str]:
    """The flavours in which a table has chains of CNI plugins."""
    used = []
    if any(name.startswith("CNI-") for name in _chains(namespace, version, table)):
        used.append("nft")
    if has_legacy(version, table):
        used.append("legacy")
    return used


def flavours_of(namespace: Namespace, version: int, table: str, chains: FrozenSet[str]) -> List[str]:
    """The flavours in which a table may have some of these chains. Cheap where it has none, as in most DELs."""
    if not chains:
        return []
    used = ["nft"] if any(has_nft_chain(namespace, version, table, chain) for chain in chains) else []
    return used + (["legacy"] if has_legacy(version, table) else [])


def _chains(namespace: Namespace, version: int, table: str) -> Dict[str, bytes]:
    """Chains of a table that iptables-nft made, and their policies."""
    policies: Dict[str, bytes] = {}
    try:
        answers = namespace.nftables(_INET).dump(GETCHAIN, _FAMILY[version])
    except KernelError as error:
        if error.errno in _NO_NF_TABLES:
            return policies
        raise
    for _, payload in answers:
        values = dict(attributes(payload, 4, len(payload)))
        if values.get(NFTA_CHAIN_TABLE) == table.encode() + b"\0":
            name = values.get(NFTA_CHAIN_NAME, b"").rstrip(b"\0").decode(errors="replace")
            policies[name] = values.get(NFTA_CHAIN_POLICY, b"\xff")
    return policies


def _line_of(message: str) -> int:
    """The number of the line that iptables-restore complains of, 0 if it names none."""
    words = message.replace(":", " ").split()
    return next((int(word) for before, word in zip(words, words[1:]) if before == "line" and word.isdigit()), 0)


def _find(name: str) -> Optional[str]:
    for folder in f"{os.environ.get('PATH', '')}:{_PLACES}".split(":"):
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            return path
    return None


def _output(name: str, command: List[str], stdin: bytes) -> str:
    files = [os.memfd_create(each, os.MFD_CLOEXEC) for each in ("stdin", "stdout", "stderr")]
    try:
        write_all(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        environ = {**os.environ, "PATH": _PLACES}
        pid = os.posix_spawn(command[0], command, environ, file_actions=actions)
        status = os.waitpid(pid, 0)[1]
        stdout, stderr = (os.pread(each, os.fstat(each).st_size, 0).decode(errors="replace") for each in files[1:])
    finally:
        for each in files:
            os.close(each)
    if status:
        raise KernelError(f"failed to run {name}: {' '.join(stderr.split())}")
    return stdout
