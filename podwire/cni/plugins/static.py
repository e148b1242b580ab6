"""static: addresses that the configuration, the runtime or CNI_ARGS wrote down. Nothing is kept, or released.

Asked for by CNI_ARGS ``IP=`` and ``GATEWAY=``, ``args.cni.ips`` or ``runtimeConfig.ips``, the last one that is there
counts, and comes instead of ``ipam.addresses``.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from ...errors import CNI_INVALID_ENVIRONMENT, CNI_INVALID_NETWORK_CONFIG, CNI_KERNEL_FAILURE, CniError
from ...startup_typing import TYPE_CHECKING
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.result import Dns, Result, ResultIp
from ..spec.route import route_from_json

if TYPE_CHECKING:
    from typing import Any, List, Mapping


class Static(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """The addresses, routes and dns as they were written down."""
        name, data = call.conf.name, _ipam(call)
        try:
            ips = _requested(call) or [_address(address) for address in data.get("addresses") or []]
            routes = tuple(route_from_json(route) for route in data.get("routes") or [])
            dns = Dns.from_json(data.get("dns") or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: invalid static ipam: {error}") from error
        return Result((), tuple(ips), routes, dns)

    def check(self, call: CmdArgs) -> None:
        """The addresses are those of prevResult."""
        wanted = self.add(call)
        if call.previous is None:
            return
        present = {ip.address for ip in call.previous.ips}
        lacking = [str(ip.address) for ip in wanted.ips if ip.address not in present]
        if lacking:
            raise CniError(
                CNI_KERNEL_FAILURE, f"static: prevResult lacks {', '.join(lacking)}", "the configuration changed"
            )

    def delete(self, call: CmdArgs) -> None:
        """Nothing was kept."""

    def collect(self, call: CmdArgs) -> None:
        """Nothing was kept."""
        call.valid_attachments()

    def status(self, call: CmdArgs) -> None:
        """Ready, as far as the configuration says so."""
        self.add(call)


COMMANDS: Commands = Static()


def _ipam(call: CmdArgs) -> Mapping[str, Any]:
    data = call.conf.data.get("ipam")
    if not isinstance(data, dict):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {call.conf.name}: missing 'ipam'")
    return data


def _address(data: Mapping[str, Any], gateway: str = "") -> ResultIp:
    text = data["address"]
    if "/" not in text:
        raise ValueError(f"address {text} has no prefix length")
    chosen = data.get("gateway") or gateway
    return ResultIp(ip_interface(text), ip_address(chosen) if chosen else None)


def _requested(call: CmdArgs) -> List[ResultIp]:
    data = call.conf.data
    runtime = (data.get("runtimeConfig") or {}).get("ips")
    args = ((data.get("args") or {}).get("cni") or {}).get("ips")
    for listed in (runtime, args):
        if listed:
            return [_address({"address": each}) for each in listed]
    texts = [each for each in call.argument("IP").split(",") if each]
    gateways = [each for each in call.argument("GATEWAY").split(",") if each]
    try:
        found = [_address({"address": text}) for text in texts]
        ways = {each.version: each for each in map(ip_address, gateways)}
    except ValueError as error:
        raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: {error}") from error
    return [each._replace(gateway=ways.get(each.address.version)) for each in found]
