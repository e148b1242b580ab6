"""VXLAN devices. Source: include/uapi/linux/if_link.h (IFLA_VXLAN_*), drivers/net/vxlan."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..values import IPAddress
from ..wire import attribute, ip, number, u32
from .device import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, List, Optional

    from ..wire import Index, Names
    from .device import Particulars

_ID, _LINK, _LOCAL, _LEARNING, _PORT, _LOCAL6, _DF = 1, 3, 4, 7, 15, 17, 29
_DF_SET = 1


class Vxlan(NamedTuple):
    """The part of a VXLAN device that cannot be changed once it exists (drivers/net/vxlan).

    ``device`` is "" for one that follows the routes, whose MTU then nothing bounds; with ``df`` the outer
    packets must not be fragmented.
    """

    vni: int
    port: int
    local: IPAddress
    device: str
    learning: bool = False
    df: bool = False


class VxlanDevice(Device):
    """Made with all of its settings."""

    settings = Vxlan

    def info(self, link: Particulars, index: Index, namespaces: Mapping[str, int]) -> bytes:
        vxlan = link.settings
        if not isinstance(vxlan, Vxlan):
            return b""
        return (
            u32(_ID, vxlan.vni)
            + (u32(_LINK, index(vxlan.device)) if vxlan.device else b"")
            + attribute(_LOCAL if vxlan.local.version == 4 else _LOCAL6, vxlan.local.packed)
            + attribute(_LEARNING, bytes([vxlan.learning]))
            + attribute(_PORT, vxlan.port.to_bytes(2, "big"))
            + (attribute(_DF, bytes([_DF_SET])) if vxlan.df else b"")
        )

    def decode(self, data: Mapping[int, bytes], names: Names) -> dict[str, Any]:
        vxlan = Vxlan(
            vni=number(data[_ID]),
            port=int.from_bytes(data.get(_PORT, b"\0\0"), "big"),
            local=ip(data.get(_LOCAL) or data.get(_LOCAL6) or b"\0\0\0\0"),
            device=names.get(number(data[_LINK]), "") if _LINK in data else "",
            learning=bool(data.get(_LEARNING, b"\1")[0]),
            df=data.get(_DF, b"\0")[0] == _DF_SET,
        )
        return {"settings": vxlan}

    def words(self, link: Particulars) -> List[str]:
        vxlan = link.settings
        if not isinstance(vxlan, Vxlan):
            return []
        where = f" dev {vxlan.device}" if vxlan.device else ""
        learning = "learning" if vxlan.learning else "nolearning"
        return [f"vni {vxlan.vni} port {vxlan.port} local {vxlan.local}{where}", learning, *_df(vxlan)]

    def arguments(self, link: Particulars) -> Optional[List[object]]:
        vxlan = link.settings
        if not isinstance(vxlan, Vxlan):
            return None
        words: List[object] = ["id", vxlan.vni, "dstport", vxlan.port, "local", vxlan.local]
        words += ["dev", vxlan.device] if vxlan.device else []
        return [*words, "learning" if vxlan.learning else "nolearning", *" ".join(_df(vxlan)).split()]


def _df(vxlan: Vxlan) -> List[str]:
    return ["df set"] if vxlan.df else []


KIND = VxlanDevice()
