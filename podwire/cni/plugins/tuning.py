"""tuning: sysctls of the container's namespace, and attributes of its interface, which DEL restores.

``args.cni`` outranks ``runtimeConfig.mac``, which outranks CNI_ARGS ``MAC=``, which outranks the configuration. A
sysctl lies below /proc/sys/net, names the interface by the token IFNAME if it likes, and, where the administrator
has an allow list, matches one of its regular expressions.

What the interface was like is in ``<dataDir>/<container id>_<interface>.json`` from before the first change until
DEL, with the keys of Go's plugin, and whose it is, for GC.
"""

from __future__ import annotations

import os
import sys

from ...errors import (
    CNI_DECODING_FAILURE,
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CniError,
    KernelError,
    PodwireError,
)
from ...jsontext import dumps, loads
from ...kernel import Namespace, execute, link_of
from ...kernel.show import read_sysctl
from ...lean import TYPE_CHECKING, NamedTuple
from ...model import Link, MacAddress, Sysctl
from ...plan import CHANGE, Operation
from ..invoke import write_all

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..result import Result
    from ..skel import CmdArgs

DATA_DIR = "/run/cni/tuning"
ALLOW_LIST = "/etc/cni/tuning/allowlist.conf"
#: The configuration's keys of link attributes, and what a Link calls them.
_ATTRIBUTES = {"mac": "mac", "mtu": "mtu", "promisc": "promisc", "allmulti": "allmulti", "txQLen": "tx_queue"}


class Wanted(NamedTuple):
    """What a configuration asks for: values by key of the configuration, and sysctls."""

    link: Dict[str, Any]
    sysctls: Tuple[Sysctl, ...]


def add(call: CmdArgs) -> Result:
    """Set everything, or nothing; prevResult with the interface's new MAC address and MTU."""
    previous = call.require_previous()
    wanted = _wanted(call)
    _obey_allow_list(call)
    path = _backup_path(call)
    with _open(call) as pod:
        old = _sysctls(pod, wanted)
        before = _interface(call, pod) if wanted.link else None
        if before is not None:
            _keep(call, path, before, wanted)
        try:
            execute([(pod, Operation(CHANGE, each)) for each in wanted.sysctls], {})
            if before is not None:
                _change(pod, before, wanted.link)
        except BaseException:
            _undo(pod, path, old, before)
            raise
    mac, mtu = wanted.link.get("mac"), wanted.link.get("mtu")
    interfaces = tuple(
        each._replace(mac=mac or each.mac, mtu=mtu or each.mtu)
        if each.name == call.attachment.ifname and each.sandbox
        else each
        for each in previous.interfaces
    )
    return previous._replace(interfaces=interfaces)


def check(call: CmdArgs) -> None:
    """Everything is as it was set."""
    call.require_previous()
    wanted = _wanted(call)
    with _open(call) as pod:
        found = _sysctls(pod, wanted)
        lacking = [
            f"{each} (it is {now.value})"
            for each, now in zip(wanted.sysctls, found)
            if each.value.split() != now.value.split()
        ]
        if wanted.link:
            link = _interface(call, pod)
            for key, value in wanted.link.items():
                now = getattr(link, _ATTRIBUTES[key])
                if now != value:
                    lacking.append(f"{key} {value} (it is {now})")
    if lacking:
        raise CniError(
            CNI_KERNEL_FAILURE,
            f"container {call.attachment.container_id} interface {call.attachment.ifname} is not tuned",
            "lacking: " + "; ".join(lacking),
        )


def delete(call: CmdArgs) -> None:
    """Restore the interface, if it and its namespace are still there, and forget how it was."""
    path = _backup_path(call)
    data = _read(path)
    if data is None:
        return
    if call.attachment.netns:
        try:
            with Namespace.open(call.attachment.netns, call.attachment.name) as pod:
                link = link_of(pod, call.attachment.ifname)
                if link is not None:
                    _change(pod, link, _link_values(call.conf.name, data))
        except (KernelError, ValueError) as error:
            print(f"tuning: {call.attachment.ifname} is not restored: {error}", file=sys.stderr)
    _forget(path)


def collect(call: CmdArgs) -> None:
    """Forget how interfaces of this network were that are not listed."""
    valid = call.valid_attachments()
    folder = _data_dir(call)
    if valid is None or not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        data = _read(path) if name.endswith(".json") else None
        if data and data.get("network") == call.conf.name:
            owner = (str(data.get("containerID")), str(data.get("ifname")))
            if owner not in valid and name == "{}_{}.json".format(*owner):
                _forget(path)


def status(call: CmdArgs) -> None:
    """Always ready, if the configuration makes sense."""
    _wanted(call)


# --- the configuration -------------------------------------------------------------------------------------


def _wanted(call: CmdArgs) -> Wanted:
    conf = call.conf
    args = (conf.data.get("args") or {}).get("cni") or {}
    data = {key: conf.data[key] for key in (*_ATTRIBUTES, "sysctl") if conf.data.get(key) is not None}
    mac = (conf.data.get("runtimeConfig") or {}).get("mac") or call.argument("MAC")
    if mac:
        data["mac"] = mac
    data.update((key, args[key]) for key in (*_ATTRIBUTES, "sysctl") if args.get(key) is not None)
    sysctls = data.get("sysctl") or {}
    if not isinstance(sysctls, dict) or not all(isinstance(each, str) for each in sysctls.values()):
        raise CniError(CNI_DECODING_FAILURE, f"network {conf.name}, plugin tuning: sysctl is {sysctls!r}", _SYSCTL_HINT)
    keys = tuple(Sysctl(_path_of(key, call.attachment.ifname), value) for key, value in sysctls.items())
    return Wanted(_link_values(conf.name, data), keys)


_SYSCTL_HINT = "it must be names and values, both strings"


def _link_values(network: str, data: Dict[str, Any]) -> Dict[str, Any]:
    """Link attributes by the configuration's keys. False and 0 mean unset, but for allmulti and txQLen."""
    found: Dict[str, Any] = {}
    for key in _ATTRIBUTES:
        value = data.get(key)
        if value is None or (key in ("mac", "mtu") and not value) or (key == "promisc" and "network" not in data and not value):
            continue
        found[key] = _link_value(network, key, value)
    return found


def _link_value(network: str, key: str, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key == "mac" and isinstance(value, str):
        try:
            return MacAddress.parse(value)
        except ValueError as error:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {network}, plugin tuning: mac: {error}") from error
    if key in ("promisc", "allmulti") and isinstance(value, bool):
        return value
    if key == "mtu" and whole and 68 <= value <= 65535:
        return value
    if key == "txQLen" and whole and 0 <= value < 1 << 31:
        return value
    fits = (key == "mac" and isinstance(value, str)) or (key in ("mtu", "txQLen") and whole)
    code = CNI_INVALID_NETWORK_CONFIG if fits else CNI_DECODING_FAILURE
    raise CniError(code, f"network {network}, plugin tuning: invalid {key} {value!r}")


def _path_of(key: str, ifname: str) -> str:
    """The path below /proc/sys. With a slash in it, dots belong to names, as for sysctl(8)."""
    parts = key.split("/" if "/" in key else ".")
    if parts[0] != "net" or len(parts) < 2 or any(each in ("", ".", "..") or "\0" in each for each in parts):
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG, f"invalid sysctl {key!r}", "only those below /proc/sys/net may be set"
        )
    return "/".join(ifname if each == "IFNAME" else each for each in parts)


def _obey_allow_list(call: CmdArgs) -> None:
    args = (call.conf.data.get("args") or {}).get("cni") or {}
    keys = args.get("sysctl") or call.conf.data.get("sysctl") or {}
    if not keys:
        return
    try:
        with open(ALLOW_LIST, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        return
    import re  # costs 10 ms, and few have such a file

    try:
        refused = [key for key in keys if not any(re.search(line, key) for line in lines)]
    except re.error as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"failed to read {ALLOW_LIST}: {error}") from error
    if refused:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"sysctl {', '.join(refused)} is not allowed", f"see {ALLOW_LIST}")


# --- the kernel -----------------------------------------------------------------------------------------------


def _open(call: CmdArgs) -> Namespace:
    try:
        return Namespace.open(call.attachment.netns, call.attachment.name)
    except (KernelError, ValueError) as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to open netns {call.attachment.netns!r}: {error}") from error


def _interface(call: CmdArgs, pod: Namespace) -> Link:
    try:
        found = link_of(pod, call.attachment.ifname)
    except KernelError as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to use {call.attachment.netns}: {error.message}") from error
    if found is None:
        raise CniError(CNI_KERNEL_FAILURE, f"there is no {call.attachment.ifname} in {call.attachment.netns}")
    return found


def _sysctls(pod: Namespace, wanted: Wanted) -> List[Sysctl]:
    """As they are now, in the order wanted."""
    found = []
    if not wanted.sysctls:
        return []
    try:
        with pod.entered():
            for each in wanted.sysctls:
                try:
                    found.append(Sysctl(each.key, read_sysctl(each.key)))
                except OSError as error:
                    cause = f"failed to read sysctl {each.key} in {pod.name}: {error.strerror}"
                    raise CniError(CNI_KERNEL_FAILURE, cause) from error
    except KernelError as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to enter the namespace of {pod.name}: {error.message}") from error
    return found


def _change(pod: Namespace, link: Link, values: Dict[str, Any]) -> None:
    changed = link._replace(**{_ATTRIBUTES[key]: value for key, value in values.items()})
    if changed != link:
        execute([(pod, Operation(CHANGE, changed, link))], {})


def _undo(pod: Namespace, path: str, old: List[Sysctl], before: Optional[Link]) -> None:
    """On the way back from an error, which is what matters."""
    for each in old:
        try:
            execute([(pod, Operation(CHANGE, each))], {})
        except PodwireError as error:
            print(f"tuning: {error}", file=sys.stderr)
    if before is None:
        return
    try:
        now = link_of(pod, before.name)
        if now is not None and now != before:
            execute([(pod, Operation(CHANGE, before, now))], {})
        _forget(path)
    except (PodwireError, OSError) as error:
        print(f"tuning: {error}", file=sys.stderr)


# --- the backup -----------------------------------------------------------------------------------------------


def _data_dir(call: CmdArgs) -> str:
    folder = call.conf.text("dataDir") or DATA_DIR
    if not folder.startswith("/") or "\0" in folder:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid dataDir {folder!r}", "it must be absolute")
    return folder


def _backup_path(call: CmdArgs) -> str:
    return os.path.join(_data_dir(call), f"{call.attachment.container_id}_{call.attachment.ifname}.json")


def _keep(call: CmdArgs, path: str, link: Link, wanted: Wanted) -> None:
    """Write how the interface is, for the attributes that will change. What an earlier ADD kept is older and stays."""
    data: Dict[str, Any] = {
        "network": call.conf.name,
        "containerID": call.attachment.container_id,
        "ifname": call.attachment.ifname,
    }
    for key in wanted.link:
        value = getattr(link, _ATTRIBUTES[key])
        data[key] = str(value) if key == "mac" else value
    data.update({key: value for key, value in (_read(path) or {}).items() if key in _ATTRIBUTES})
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.new"
    out = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(out, dumps(data).encode())
        os.fsync(out)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(out)


def _read(path: str) -> Optional[Dict[str, Any]]:
    """A backup; None for none, and for one that nobody can read."""
    try:
        with open(path, encoding="utf-8") as file:
            data = loads(file.read())
    except FileNotFoundError:
        return None
    except ValueError:
        return {"network": ""}
    return data if isinstance(data, dict) else {"network": ""}


def _forget(path: str) -> None:
    for each in (f"{path}.new", path):
        try:  # noqa: SIM105 - contextlib costs a plugin's start 3 ms
            os.unlink(each)
        except FileNotFoundError:
            pass
