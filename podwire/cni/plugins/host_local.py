"""host-local: addresses of declared ranges, held in files (see ipam/store.py). Executable, and in-process for others.

Addresses may be asked for by CNI_ARGS ``IP=``, ``args.cni.ips`` and ``runtimeConfig.ips``, all of which count.
``runtimeConfig.ipRanges`` come before the configuration's own.
"""

from __future__ import annotations

from ipaddress import ip_interface

from ...errors import (
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_IO_FAILURE,
    CNI_NOT_AVAILABLE,
    CNI_UNKNOWN_CONTAINER,
    CniError,
)
from ...ipam.allocator import Allocator, Reservation
from ...ipam.store import Claim
from ...startup_typing import TYPE_CHECKING
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.failure import as_cni_error
from ..spec.netconf import parse_ipam
from ..spec.result import Dns, Result, ResultIp

if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

    from ...model.objects import IPAddress
    from ..spec.netconf import NetConf


class HostLocal(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """Reserve an address of every range set."""
        ranges = Ranges(call.conf)
        claim = call.attachment.claim
        result = ranges.reserve([claim], _requested(call))[claim]
        if isinstance(result, CniError):
            raise result
        return result

    def check(self, call: CmdArgs) -> None:
        """The container's interface holds an address."""
        ranges, claim = Ranges(call.conf), call.attachment.claim
        if ranges.held([claim])[claim] is None:
            raise ranges.lost(claim)

    def delete(self, call: CmdArgs) -> None:
        """Release what the container's interface holds; nothing is no error."""
        self.prepare_delete(call)()

    def prepare_delete(self, call: CmdArgs) -> Callable[[], None]:
        """The release, with the configuration read already."""
        ranges, claim = Ranges(call.conf), call.attachment.claim
        return lambda: ranges.release([claim])

    def collect(self, call: CmdArgs) -> None:
        """Release the addresses of attachments that are not listed."""
        valid = call.valid_attachments()
        if valid is not None:
            Ranges(call.conf).collect({Claim(*pair) for pair in valid})

    def status(self, call: CmdArgs) -> None:
        """Ready if there is an address left."""
        Ranges(call.conf).require_address()

    def stale(self, call: CmdArgs) -> List[Claim]:
        """Who holds addresses without being listed."""
        valid = call.valid_attachments()
        return [] if valid is None else Ranges(call.conf).stale({Claim(*pair) for pair in valid})


COMMANDS: Commands = HostLocal()


class Ranges:
    """The addresses of a configuration's ranges, for any number of containers."""

    def __init__(self, conf: NetConf) -> None:
        data = conf.data.get("ipam")
        if not isinstance(data, dict) or not data:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: missing 'ipam'")
        extra = (conf.data.get("runtimeConfig") or {}).get("ipRanges") or []
        ipam = parse_ipam(conf.name, data, extra)
        if not ipam.data_dir.startswith("/"):
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid dataDir {ipam.data_dir!r}", "it must be absolute")
        self._allocator = Allocator(conf.name, ipam.range_sets, ipam.data_dir)
        self._routes, self._resolv_conf = ipam.routes, data.get("resolvConf")

    def reserve(
        self, claims: Sequence[Claim], requested: Sequence[IPAddress] = ()
    ) -> Dict[Claim, Union[Result, CniError]]:
        """An address of every range set for each, or the error of those that have none."""
        dns = self._dns()
        answers = self._allocator.reserve(claims, requested)
        return {
            claim: self._result(answer, dns) if isinstance(answer, Reservation) else as_cni_error(answer)
            for claim, answer in answers.items()
        }

    def release(self, claims: Iterable[Claim]) -> None:
        """Release what they hold."""
        self._allocator.release(claims)

    def held(self, claims: Iterable[Claim]) -> Dict[Claim, Optional[Result]]:
        """What each holds, if that is of these ranges."""
        dns, reservations = self._dns(), self._allocator.lookup(claims)
        return {claim: self._result(held, dns) if held else None for claim, held in reservations.items()}

    def preview(self, count: int) -> List[Result]:
        """What the next ones would get; fewer if there are fewer left."""
        dns = self._dns()
        return [self._result(reservation, dns) for reservation in self._allocator.preview(count)]

    def lost(self, claim: Claim) -> CniError:
        """The error for one that holds nothing."""
        return CniError(
            CNI_UNKNOWN_CONTAINER,
            f"host-local: failed to find an address of container {claim.container_id} interface {claim.ifname} "
            f"in network {self._allocator.network}",
            f"its lease in {self._allocator.data_dir} is gone or another's",
        )

    def stale(self, valid: Set[Claim]) -> List[Claim]:
        """Who holds addresses and is not valid."""
        return list(dict.fromkeys(self._allocator.collect(valid, read_only=True).values()))

    def collect(self, valid: Set[Claim]) -> None:
        """Release the addresses of all that are not valid."""
        self._allocator.collect(valid)

    def require_address(self) -> None:
        """CniError 50 if the next ADD could have no address."""
        error = self._allocator.exhausted()
        if error is not None:
            raise CniError(CNI_NOT_AVAILABLE, error.message, error.hint)

    def _dns(self) -> Dns:
        return _read_resolv_conf(self._resolv_conf) if self._resolv_conf else Dns()

    def _result(self, reservation: Reservation, dns: Dns) -> Result:
        return Result((), tuple(ResultIp(ip.address, ip.gateway) for ip in reservation.ips), self._routes, dns)


def _requested(call: CmdArgs) -> Tuple[IPAddress, ...]:
    """Every address asked for; prefix lengths do not matter."""
    texts: List[Tuple[Any, int]] = []
    argument = call.argument("IP")
    texts += [(text, CNI_INVALID_ENVIRONMENT) for text in argument.split(",") if argument]
    data = call.conf.data
    args, runtime = ((data.get("args") or {}).get("cni") or {}), data.get("runtimeConfig") or {}
    for listed in (args.get("ips") or [], runtime.get("ips") or []):
        if not isinstance(listed, list):
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid requested addresses {listed!r}", "it must be a list")
        texts += [(text, CNI_INVALID_NETWORK_CONFIG) for text in listed]
    addresses = []
    for text, code in texts:
        try:
            if not isinstance(text, str):
                raise ValueError("not a string")
            addresses.append(ip_interface(text).ip)
        except ValueError as error:
            raise CniError(code, f"invalid requested address {text!r}", str(error)) from error
    return tuple(dict.fromkeys(addresses))


def _read_resolv_conf(path: Any) -> Dns:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if line[:1] not in "#;"]
    except (OSError, TypeError, ValueError) as error:
        raise CniError(CNI_IO_FAILURE, f"failed to read resolvConf {path!r}: {error}") from error
    values = {word: [value for line in lines if line[:1] == [word] for value in line[1:]] for word in _WORDS}
    servers, domain, search, options = (values[word] for word in _WORDS)
    return Dns(tuple(servers), domain[-1] if domain else "", tuple(search), tuple(options))


_WORDS = ("nameserver", "domain", "search", "options")
