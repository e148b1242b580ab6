"""``vlan`` and ``vlanTrunk`` of bridge: which VLANs a container's port is in, and the gateway of one.

::

    node                                                          pod
    cni0 vlan_filtering ── veth1a2b3c4d pvid 100 untagged ═══════ eth0 10.1.0.2/24
      └─ veth5e6f7a8b pvid 100 untagged ══ cni0.100 10.1.0.1/24

The bridge itself is no member of the VLAN, so its gateway is one more port: the reference's ``<bridge>.<id>``.
"""

from __future__ import annotations

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...model.device_name import LONGEST
from ...model.objects import PVID, UNTAGGED, Link, PortVlans, VethPeer
from ...model.state import State
from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..spec.netconf import Attachment, NetConf
from . import common, naming

if TYPE_CHECKING:
    from typing import Any, FrozenSet, Optional, Set, Tuple

    from ...model.objects import MacAddress


class Vlans(NamedTuple):
    """What a configuration wants.

    access: the VLAN of what comes and goes without tag; 0 for none.
    trunk:  VLANs that come and go with their tag.
    keep:   whether the port also stays in the bridge's default VLAN (``preserveDefaultVlan``).
    filter: whether the bridge has to heed VLANs.
    """

    access: int
    trunk: Tuple[int, ...]
    keep: bool
    filter: bool

    def of_port(self, port: str) -> FrozenSet[PortVlans]:
        """The VLANs of a container's port; none where nothing is said of them."""
        vlans = ((self.access, PVID | UNTAGGED),) if self.access else tuple((each, 0) for each in self.trunk)
        return frozenset({PortVlans(port, vlans, self.keep)}) if vlans else frozenset()

    def __str__(self) -> str:
        return f"vlan {self.access}" if self.access else f"vlanTrunk {list(self.trunk)}"


def parse(conf: NetConf) -> Vlans:
    """CniError 7 for what makes no sense. ``preserveDefaultVlan`` is true if absent, as in the reference."""
    access, trunk = conf.number("vlan", 1, 4094), conf.data.get("vlanTrunk")
    keep = conf.data.get("preserveDefaultVlan") is None or conf.flag("preserveDefaultVlan")
    if access and trunk:
        raise _invalid(conf, "cannot set vlan and vlanTrunk at the same time")
    if not isinstance(trunk or [], list):
        raise _invalid(conf, f"vlanTrunk is {trunk!r}")
    ids: Set[int] = set()
    for each in trunk or []:
        ids |= _of_entry(conf, each)
    return Vlans(access, tuple(sorted(ids)), keep, bool(access) or trunk is not None)


def _of_entry(conf: NetConf, each: Any) -> Set[int]:
    if not isinstance(each, dict):
        raise _invalid(conf, f"vlanTrunk has {each!r}")
    values = [each.get(key) for key in ("minID", "maxID", "id")]
    for value in values:
        if value is not None and (type(value) is not int or not 1 <= value <= 4094):
            raise _invalid(conf, f"vlanTrunk has {each!r}: ids are from 1 to 4094")
    low, high, single = values
    if (low is None) != (high is None) or (low is not None and high is not None and low > high):
        raise _invalid(conf, f"vlanTrunk has {each!r}: minID and maxID come together, and in this order")
    found = set(range(low, high + 1)) if low is not None and high is not None else set()
    return found | ({single} if single is not None else set())


def _invalid(conf: NetConf, problem: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin bridge: {problem}")


def gateway_name(conf: NetConf, bridge: str, access: int) -> str:
    """The device that has a VLAN's gateway address; CniError 7 if the kernel takes no such name."""
    name = f"{bridge}.{access}"
    if len(name.encode()) > LONGEST:
        why = f"the gateway of vlan {access} would be {name!r}, and names have {LONGEST} bytes at most"
        raise _invalid(conf, why)
    return name


def gateway(bridge: str, device: str, node: str, vlans: Vlans, mac: Optional[MacAddress]) -> State:
    """The port and the device that make the node a host of the VLAN."""
    port = naming.host_veth(Attachment(bridge, device))
    links = {
        Link(port, "veth", mac=naming.mac_of_veth(port), master=bridge, peer=VethPeer(node, device)),
        Link(device, "veth", mac=mac),
    }
    sysctls = frozenset({common.disable_accept_ra(device)})
    return State(links=frozenset(links), sysctls=sysctls, vlans=vlans.of_port(port))
