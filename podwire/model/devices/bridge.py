"""Bridges. Source: include/uapi/linux/if_link.h (IFLA_BR_*), net/bridge/br_netlink.c."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING
from ..wire import attribute
from .device import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Optional

    from ..wire import Index, Names
    from .device import Particulars

_VLAN_FILTERING = 7


class Bridge(Device):
    """A bridge takes its ports' smallest MTU, unless it was set by a change (BROPT_MTU_SET_BY_USER)."""

    mtu_by_change = True

    def info(self, link: Particulars, index: Index, namespaces: Mapping[str, int]) -> bytes:
        """Not without need: a kernel without filtering says that it is off, and refuses to have that set."""
        return attribute(_VLAN_FILTERING, b"\1") if link.vlan_filtering else b""

    def changed_info(self, link: Particulars, old: Optional[Particulars]) -> bytes:
        if link.vlan_filtering is None or old is None or old.vlan_filtering == link.vlan_filtering:
            return b""
        return attribute(_VLAN_FILTERING, bytes([link.vlan_filtering]))

    def decode(self, data: Mapping[int, bytes], names: Names) -> dict[str, Any]:
        return {"vlan_filtering": bool(data[_VLAN_FILTERING][0])} if _VLAN_FILTERING in data else {}

    def feature(self, link: Particulars) -> str:
        from ..port_vlans import FILTERING

        return FILTERING if link.vlan_filtering else "the feature"


KIND = Bridge()
