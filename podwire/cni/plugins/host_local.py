"""host-local: addresses of declared ranges, held in files (see ipam/store.py). Executable, and in-process for others.

Addresses may be asked for by CNI_ARGS ``IP=``, ``args.cni.ips`` and ``runtimeConfig.ips``, all of which count.
``runtimeConfig.ipRanges`` come before the configuration's own.
"""

from __future__ import annotations

from ipaddress import ip_interface

from ...errors import (
    CNI_CONFLICT,
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_IO_FAILURE,
    CNI_NOT_AVAILABLE,
    CNI_UNKNOWN_CONTAINER,
    CniError,
    ExhaustedError,
)
from ...ipam.allocator import Allocator, Reservation
from ...ipam.store import Claim
from ...startup_typing import TYPE_CHECKING
from ..skel import CmdArgs
from ..spec.netconf import parse_ipam
from ..spec.result import Dns, Result, ResultIp

if TYPE_CHECKING:
    from typing import Any, Callable, List, Mapping, Tuple

    from ...model.objects import IPAddress
    from ..spec.netconf import CniRoute


def add(call: CmdArgs) -> Result:
    """Reserve an address of every range set."""
    allocator, routes, data = _parse(call)
    dns = _read_resolv_conf(data["resolvConf"]) if data.get("resolvConf") else Dns()
    claim = call.attachment.claim
    answer = allocator.reserve([claim], _requested(call))[claim]
    if not isinstance(answer, Reservation):
        code = CNI_NOT_AVAILABLE if isinstance(answer, ExhaustedError) else CNI_CONFLICT
        raise CniError(code, answer.message, answer.hint)
    return Result((), tuple(ResultIp(ip.address, ip.gateway) for ip in answer.ips), routes, dns)


def check(call: CmdArgs) -> None:
    """The container's interface holds an address."""
    allocator, _, _ = _parse(call)
    claim = call.attachment.claim
    if allocator.lookup([claim])[claim] is None:
        raise CniError(
            CNI_UNKNOWN_CONTAINER,
            f"host-local: failed to find an address of container {claim.container_id} interface {claim.ifname} "
            f"in network {call.conf.name}",
            f"its lease in {allocator.data_dir} is gone or another's",
        )


def delete(call: CmdArgs) -> None:
    """Release what the container's interface holds; nothing is no error."""
    deletion(call)()


def deletion(call: CmdArgs) -> Callable[[], None]:
    """What releases, with everything but that done: for those who wait for something else meanwhile."""
    allocator, claim = _parse(call)[0], call.attachment.claim

    def release() -> None:
        allocator.release([claim])

    return release


def collect(call: CmdArgs) -> None:
    """Release the addresses of attachments that are not listed."""
    valid = call.valid_attachments()
    if valid is not None:
        _parse(call)[0].collect({Claim(*pair) for pair in valid})


def status(call: CmdArgs) -> None:
    """Ready if there is an address left."""
    error = _parse(call)[0].exhausted()
    if error is not None:
        raise CniError(CNI_NOT_AVAILABLE, error.message, error.hint)


def stale(call: CmdArgs) -> List[Claim]:
    """Who holds addresses without being listed (for those who have to remove devices before)."""
    valid = call.valid_attachments()
    if valid is None:
        return []
    return list(_parse(call)[0].collect({Claim(*pair) for pair in valid}, read_only=True).values())


def _parse(call: CmdArgs) -> Tuple[Allocator, Tuple[CniRoute, ...], Mapping[str, Any]]:
    conf = call.conf
    data = conf.data.get("ipam")
    if not isinstance(data, dict) or not data:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: missing 'ipam'")
    extra = (conf.data.get("runtimeConfig") or {}).get("ipRanges") or []
    ipam = parse_ipam(conf.name, data, extra)
    if not ipam.data_dir.startswith("/"):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid dataDir {ipam.data_dir!r}", "it must be absolute")
    return Allocator(conf.name, ipam.range_sets, ipam.data_dir), ipam.routes, data


def _requested(call: CmdArgs) -> Tuple[IPAddress, ...]:
    """Every address asked for; prefix lengths do not matter."""
    texts: List[Tuple[Any, int]] = []
    argument = call.argument("IP")
    texts += [(each, CNI_INVALID_ENVIRONMENT) for each in argument.split(",") if argument]
    data = call.conf.data
    args, runtime = ((data.get("args") or {}).get("cni") or {}), data.get("runtimeConfig") or {}
    for listed in (args.get("ips") or [], runtime.get("ips") or []):
        if not isinstance(listed, list):
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid requested addresses {listed!r}", "it must be a list")
        texts += [(each, CNI_INVALID_NETWORK_CONFIG) for each in listed]
    found = []
    for each, code in texts:
        try:
            if not isinstance(each, str):
                raise ValueError("not a string")
            found.append(ip_interface(each).ip)
        except ValueError as error:
            raise CniError(code, f"invalid requested address {each!r}", str(error)) from error
    return tuple(dict.fromkeys(found))


def _read_resolv_conf(path: Any) -> Dns:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if line[:1] not in "#;"]
    except (OSError, TypeError, ValueError) as error:
        raise CniError(CNI_IO_FAILURE, f"failed to read resolvConf {path!r}: {error}") from error
    found = {word: [each for line in lines if line[:1] == [word] for each in line[1:]] for word in _WORDS}
    servers, domain, search, options = (found[word] for word in _WORDS)
    return Dns(tuple(servers), domain[-1] if domain else "", tuple(search), tuple(options))


_WORDS = ("nameserver", "domain", "search", "options")
