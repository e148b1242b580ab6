"""The specification's spelling of keys: Go's plugins match them in any case."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Dict, Mapping

_WORDS = """
cniVersion name type args cni prevResult capabilities runtimeConfig dns ipam ips ip4 ip6 interfaces routes subnet
rangeStart rangeEnd gateway ranges dataDir resolvConf dst gw mtu advmss priority table scope addresses address
interface mac sandbox socketPath pciID nameservers domain search options bridge isGateway isDefaultGateway
forceAddress ipMasq ipMasqBackend hairpinMode promiscMode vlan vlanTrunk minID maxID id preserveDefaultVlan
macspoofchk enabledad disableContainerInterface portIsolation portMappings hostPort containerPort protocol hostIP
snat masqAll markMasqBit externalSetMarkChain conditionsV4 conditionsV6 backend iptablesAdminChainName firewalldZone
ingressPolicy sysctl promisc txQLen allmulti bandwidth ingressRate ingressBurst egressRate egressBurst subnetFile
delegate ipRanges containerID ifname unshapedSubnets shapedSubnets
"""
_KEYS = {key.lower(): key for key in _WORDS.split()}


def canonical(data: Mapping[str, Any]) -> Dict[str, Any]:
    """The same objects with keys as the specification spells them, but for those of a user's own making."""
    return {
        _KEYS.get(key.lower(), key): value if key.lower() in ("sysctl", "capabilities") else _within(value)
        for key, value in data.items()
    }


def _within(value: Any) -> Any:
    if isinstance(value, dict):
        return canonical(value)
    if isinstance(value, list):
        return [_within(item) for item in value]
    return value
