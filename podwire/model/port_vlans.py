"""VLANs of bridge ports. Source: include/uapi/linux/if_bridge.h, net/bridge/br_netlink.c (br_afspec)."""

from __future__ import annotations

import struct

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import NETLINK, REMOVE
from .wire import AF_BRIDGE, RTM_DELLINK, RTM_SETLINK, attribute, attributes, u32

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names

#: bridge_vlan_info's flags: what comes without tag is of this VLAN; what is of it leaves without tag.
PVID, UNTAGGED = 2, 4
_RANGE_BEGIN, _RANGE_END = 8, 16
_IFINFO = struct.Struct("=BxHiII")
_VLAN = struct.Struct("=HH")
_AF_SPEC, _VLAN_INFO = 26, 2
_EXT_MASK, _FILTER_VLANS = 29, 2  # IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN
#: What the kernel lacks that does not filter.
FILTERING = "VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)"
#: Payload of a dump of all bridge ports with their VLANs; there is none for one port.
VLAN_REQUEST = _IFINFO.pack(AF_BRIDGE, 0, 0, 0, 0) + u32(_EXT_MASK, _FILTER_VLANS)


class PortVlans(NamedTuple):
    """The VLANs of a bridge port: (VLAN id, flags) by id. ``others``: whether it may be in more of them."""

    device: str
    vlans: tuple[tuple[int, int], ...]
    others: bool = False

    def __str__(self) -> str:
        words = {0: "", PVID: " pvid", UNTAGGED: " untagged", PVID | UNTAGGED: " pvid untagged"}
        vlans = (f"{first}{f'-{last}' if last > first else ''}{words[flags]}" for first, last, flags in self.ranges())
        return f"vlans {', '.join(vlans) or 'none'} dev {self.device}"

    def ranges(self) -> list[tuple[int, int, int]]:
        """(first, last, flags) of each run of VLANs that are alike. Only one may be the PVID."""
        runs: list[tuple[int, int, int]] = []
        for vlan, flags in self.vlans:
            if runs and runs[-1][1:] == (vlan - 1, flags) and not flags & PVID:
                runs[-1] = (runs[-1][0], vlan, flags)
            else:
                runs.append((vlan, vlan, flags))
        return runs

    @staticmethod
    def field() -> str:
        return "vlans"

    def identity(self) -> Any:
        return self.device

    def rank(self) -> Any:
        return str(self)

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: PortVlans) -> bool:
        return True

    def compared(self, old: PortVlans) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        """None: a runtime that attaches the pod anew makes them."""
        return []

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> List[Message]:
        """RTM_SETLINK of a port's VLANs, then RTM_DELLINK of all others."""
        port = self._replace(vlans=(), others=False) if action == REMOVE else self
        head = _IFINFO.pack(AF_BRIDGE, 0, index(port.device), 0, 0)
        wanted = b"".join(_range(*run) for run in port.ranges())
        messages = [(RTM_SETLINK, 0, head + attribute(_AF_SPEC, wanted))] if wanted else []
        if not port.others:
            kept = {vlan for vlan, _ in port.vlans}
            rest = port._replace(vlans=tuple((vlan, 0) for vlan in range(1, 4095) if vlan not in kept))
            surplus = b"".join(_range(*run) for run in rest.ranges())
            messages.append((RTM_DELLINK, 0, head + attribute(_AF_SPEC, surplus)))
        return messages

    def request(self, index: Index) -> None:
        """Only dumps tell of VLANs."""

    @staticmethod
    def decode(payload: bytes, names: Names) -> PortVlans:
        vlans = []
        for kind, value in attributes(payload, 16, len(payload)):
            for inner, info in attributes(value, 0, len(value)) if kind == _AF_SPEC else ():
                if inner == _VLAN_INFO:
                    flags, vlan = _VLAN.unpack(info)
                    vlans.append((vlan, flags & (PVID | UNTAGGED)))
        return PortVlans(names.get(_IFINFO.unpack_from(payload)[2], ""), tuple(sorted(vlans)))

    def feature(self) -> str:
        return FILTERING


def _range(first: int, last: int, flags: int) -> bytes:
    """IFLA_BRIDGE_VLAN_INFO of one VLAN, or the two of a range."""
    if first == last:
        return attribute(_VLAN_INFO, _VLAN.pack(flags, first))
    begin, end = _VLAN.pack(flags | _RANGE_BEGIN, first), _VLAN.pack(flags | _RANGE_END, last)
    return attribute(_VLAN_INFO, begin) + attribute(_VLAN_INFO, end)
