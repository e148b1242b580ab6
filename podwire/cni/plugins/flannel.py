"""flannel: a delegate (bridge, unless another is named) for the subnet that flanneld wrote down.

The delegate's configuration is kept per attachment until its DEL succeeded: subnet.env may have changed by then,
or be gone. The file is whole or not there, and goes when ADD fails.
"""

from __future__ import annotations

import os
from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CNI_IO_FAILURE, CNI_NOT_AVAILABLE, CniError
from ...files import remove_file, replace_file
from ...jsontext import dumps, loads
from ...startup_typing import TYPE_CHECKING
from ..spec import delegate
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.keys import canonical
from ..spec.netconf import NetConf
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple

    from ...model.objects import IPNetwork

_SUBNET_FILE = "/run/flannel/subnet.env"

_DATA_DIR = "/var/lib/cni/flannel"

_RESERVED = ("name", "ipam")

#: Between container id and interface name: no id has it, so GC can tell them apart.
_BETWEEN = "@"


class Flannel(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """ADD of the delegate, whose configuration is kept before: so a DEL finds it wherever this was interrupted."""
        data = _delegate(call)
        path = _path(call)
        if _read(path) is not None:
            raise CniError(CNI_IO_FAILURE, f"{path} exists: this interface was added before", "detach it first (DEL)")
        _write(path, dumps(data).encode())
        try:
            return delegate.add(_call_with(call, data), data["type"])
        except BaseException:
            remove_file(path)
            raise

    def check(self, call: CmdArgs) -> None:
        """CHECK of the delegate as it was added."""
        data = _kept(call)
        if data is None:
            raise CniError(
                CNI_IO_FAILURE, f"failed to read {_path(call)}: it is gone", "the interface was not added, or removed"
            )
        delegate.check(_call_with(call, data), data["type"])

    def delete(self, call: CmdArgs) -> None:
        """DEL of the delegate as it was added, then of what was kept. Nothing kept: nothing was added."""
        path = _path(call)
        content = _read(path)
        if content is None:
            remove_file(path)
            return
        data = _kept(call)
        if data is None:  # what a crash or a full disk left: as it would be added now
            try:
                data = _delegate(call)
            except CniError:
                data = None
        if data is not None:
            delegate.delete(_call_with(call, data), data["type"])
        remove_file(path)

    def collect(self, call: CmdArgs) -> None:
        """GC of the delegate as it would be added now, and of what was kept of attachments that are not listed."""
        valid = call.valid_attachments()
        if valid is None:
            return
        try:
            data: Optional[Dict[str, Any]] = _delegate(call)
        except CniError:
            data = None  # no lease now, so no delegate to ask; what was kept still tells
        folder = _folder(call)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.startswith("."):  # being written
                continue
            path = os.path.join(folder, name)
            kept = _parse(_read(path))
            container_id, _, ifname = name.partition(_BETWEEN)
            if kept is None or kept.get("name") != call.conf.name or (container_id, ifname) in valid:
                continue
            gone = call._replace(attachment=call.attachment._replace(container_id=container_id, ifname=ifname))
            delegate.delete(_call_with(gone, kept, CNI_CONTAINERID=container_id, CNI_IFNAME=ifname), kept["type"])
            remove_file(path)
        if data is not None:
            listed = {"cni.dev/valid-attachments": call.conf.data["cni.dev/valid-attachments"]}
            delegate.collect(_call_with(call, {**data, **listed}), data["type"])

    def status(self, call: CmdArgs) -> None:
        """Ready when flanneld wrote its file and the delegate is ready."""
        try:
            data = _delegate(call)
        except CniError as error:
            if error.code == CNI_INVALID_NETWORK_CONFIG:
                raise
            raise CniError(CNI_NOT_AVAILABLE, error.message, error.hint) from error
        delegate.status(_call_with(call, data), data["type"])


COMMANDS: Commands = Flannel()

# --- the delegate's configuration ---------------------------------------------------------------------


def _delegate(call: CmdArgs) -> Dict[str, Any]:
    """What flannel-cni makes of the configuration (flannel_linux.go, doCmdAdd)."""
    conf = call.conf
    data: Dict[str, Any] = dict(_object(conf, "delegate"))
    for key in _RESERVED:
        if data.get(key):
            raise _invalid(conf, f"'delegate' dictionary must not have '{key}' field, flannel sets it")
    subnet = _read_subnet(conf)
    kind = data.setdefault("type", "bridge")
    if not isinstance(kind, str) or "/" in kind:
        raise _invalid(conf, f"'delegate' has type {kind!r}")
    data["name"], data["cniVersion"] = conf.name, conf.cni_version
    data.setdefault("ipMasq", not subnet.masquerade)
    if subnet.mtu:
        data.setdefault("mtu", subnet.mtu)
    if kind == "bridge":
        data.setdefault("isGateway", True)
    data["ipam"] = _ipam(conf, subnet)
    if conf.data.get("runtimeConfig"):
        data["runtimeConfig"] = conf.data["runtimeConfig"]
    return data


def _ipam(conf: NetConf, subnet: _Subnet) -> Dict[str, Any]:
    ipam = dict(_object(conf, "ipam"))
    ipam.setdefault("type", "host-local")
    ipam["ranges"] = [[{"subnet": str(each)}] for each in subnet.subnets]
    routes: List[Any] = list(ipam.get("routes") or [])
    ipam["routes"] = routes + [{"dst": str(network)} for network in subnet.networks]
    return ipam


def _object(conf: NetConf, key: str) -> Mapping[str, Any]:
    found = conf.data.get(key) or {}
    if not isinstance(found, dict):
        raise _invalid(conf, f"{key} is {found!r}")
    return found


def _invalid(conf: NetConf, problem: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin flannel: {problem}")


class _Subnet:
    """subnet.env."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.networks = self._cidrs(values, "NETWORK")
        self.subnets = self._cidrs(values, "SUBNET")
        if not self.subnets or not self.networks:
            raise ValueError("it has no FLANNEL_NETWORK and FLANNEL_SUBNET")
        self.mtu = int(values.get("FLANNEL_MTU") or 0)
        masquerade = values.get("FLANNEL_IPMASQ", "")
        if masquerade not in ("true", "false", ""):
            raise ValueError(f"FLANNEL_IPMASQ is {masquerade!r}")
        self.masquerade = masquerade == "true"

    @staticmethod
    def _cidrs(values: Mapping[str, str], word: str) -> Tuple[IPNetwork, ...]:
        texts = (values.get(f"FLANNEL_{family}{word}", "") for family in ("", "IPV6_"))
        return tuple(ip_network(each, strict=False) for text in texts if text for each in text.split(","))


def _read_subnet(conf: NetConf) -> _Subnet:
    path = conf.text("subnetFile") or _SUBNET_FILE
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
        pairs = [line.partition("=") for line in lines]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("a line of it is not KEY=VALUE")
        return _Subnet({key: value for key, _, value in pairs})
    except OSError as error:
        raise CniError(
            CNI_IO_FAILURE,
            f"failed to read {path}: {error.strerror}",
            "is flanneld running, and has it a subnet lease?",
        ) from error
    except ValueError as error:
        raise CniError(CNI_IO_FAILURE, f"failed to read {path}: {error}", "flanneld writes it; restart it") from error


# --- what is kept -------------------------------------------------------------------------------------


def _call_with(call: CmdArgs, data: Mapping[str, Any], **variables: str) -> CmdArgs:
    """The call as the delegate gets it."""
    if "prevResult" in call.conf.data:
        data = {**data, "prevResult": call.conf.data["prevResult"]}
    environ = {**call.environ, **variables}
    conf = NetConf(call.conf.cni_version, call.conf.name, data["type"], canonical(data))
    return call._replace(conf=conf, stdin=dumps(data).encode(), environ=environ)


def _folder(call: CmdArgs) -> str:
    return call.conf.text("dataDir") or _DATA_DIR


def _path(call: CmdArgs) -> str:
    """One file an interface: a container may have several of one network."""
    return os.path.join(_folder(call), f"{call.attachment.container_id}{_BETWEEN}{call.attachment.ifname}")


def _kept(call: CmdArgs) -> Optional[Dict[str, Any]]:
    return _parse(_read(_path(call)))


def _parse(content: Optional[bytes]) -> Optional[Dict[str, Any]]:
    try:
        data = loads((content or b"").decode())
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("type"), str) else None


def _read(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    replace_file(path, content, 0o600)
