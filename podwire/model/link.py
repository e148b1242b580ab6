"""Network devices. Source: include/uapi/linux/if_link.h, net/core/rtnetlink.c."""

from __future__ import annotations

import struct

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .devices.table import device_kind
from .kind import ADD, DEVICES, NETLINK, REMOVE, REMOVED_DEVICES, STACKED_DEVICES
from .values import MacAddress
from .wire import EXCLUSIVE, RTM_GETLINK, RTM_NEWLINK, after, attribute, attributes, nested, number, string, text, u32

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from typing import Any, List, Optional

    from .command import Command
    from .devices.veth import VethPeer
    from .wire import Index, Message, Names, Row

IFINFO = struct.Struct("=BxHiII")
_UP, _PROMISC, _ALLMULTI = 0x1, 0x100, 0x200  # IFF_*
_LOOPBACK = 772  # ARPHRD_LOOPBACK
_MAC, _NAME, _MTU, _LINK, _MASTER, _TX_QUEUE, _OPERSTATE, _LINKINFO, _ALIAS = 1, 3, 4, 5, 10, 13, 16, 18, 20
_STATS, _EXT_MASK, _LINK_NETNSID = 23, 29, 37
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_PORT_STATE, _PORT_HAIRPIN, _PORT_LEARNING, _PORT_FLOOD, _PORT_ISOLATED = 1, 4, 8, 9, 33  # IFLA_BRPORT_*
_SKIP_STATS = u32(_EXT_MASK, 8)  # RTEXT_FILTER_SKIP_STATS
_NAMED = bytes(IFINFO.size)  # a device that is known by its name
#: Payload of a dump of all devices, without their counters.
LINK_REQUEST = _NAMED + _SKIP_STATS
_ATTRIBUTES = ("mtu", "mac", "up", "hairpin", "isolated", "alias", "promisc", "allmulti", "tx_queue", "vlan_filtering")
_OPERATIONAL = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_PORT_FLAGS = {"hairpin": _PORT_HAIRPIN, "learning": _PORT_LEARNING, "flood": _PORT_FLOOD, "isolated": _PORT_ISOLATED}


class Link(NamedTuple):
    """A network device. A ``None`` attribute of a desired link means "as the kernel likes".

    ``kind``: ``bridge``, ``vxlan``, ``veth``, ``loopback`` or ``""`` (a device podwire did not make); devices/table.py
    has what is particular about each, and ``settings`` what of it cannot be changed.
    A veth with ``peer`` is created together with its other end; one without is that other end and
    is only configured. ``hairpin`` and ``isolated`` are flags of a bridge port. ``alias`` is
    IFLA_IFALIAS. ``promisc`` and ``allmulti`` are what an administrator set, ``tx_queue`` is in packets.
    ``vlan_filtering``: whether a bridge heeds the VLANs of its ports (``PortVlans``).
    """

    name: str
    kind: str
    mtu: int | None = None
    mac: MacAddress | None = None
    up: bool = True
    master: str | None = None
    settings: tuple[Any, ...] | None = None
    peer: VethPeer | None = None
    hairpin: bool | None = None
    isolated: bool | None = None
    alias: str | None = None
    promisc: bool | None = None
    allmulti: bool | None = None
    tx_queue: int | None = None
    vlan_filtering: bool | None = None

    def __str__(self) -> str:
        words = [f"link {self.name} {self.kind}".rstrip(), *device_kind(self.kind).words(self)]
        for key in ("mtu", "mac", "master"):
            if getattr(self, key) is not None:
                words.append(f"{key} {getattr(self, key)}")
        for key in ("hairpin", "isolated"):
            if getattr(self, key) is not None:
                words.append(f"{key} {'on' if getattr(self, key) else 'off'}")
        words += [key for key in ("promisc", "allmulti", "vlan_filtering") if getattr(self, key)]
        words.append("up" if self.up else "down")
        return " ".join(words)

    @staticmethod
    def field() -> str:
        return "links"

    def identity(self) -> Any:
        return self.name

    def rank(self) -> Any:
        """A device comes after its master, its parent and the end of the veth pair that makes it."""
        return (DEVICES, STACKED_DEVICES, NETLINK).index(self.batch(ADD)), self.name

    def batch(self, action: str) -> str:
        """Devices that others need are a batch of their own, because the others' messages name them by ifindex."""
        if action == REMOVE:
            return REMOVED_DEVICES
        if self.kind == "veth" and self.peer is None:
            return NETLINK
        return STACKED_DEVICES if self.master or self.settings or self.peer else DEVICES

    def recreation(self, current: Link) -> str:
        """Why the existing device ``current`` cannot become this one, as a clause; empty if it can."""
        if self.kind != current.kind:
            return f"kind {current.kind} instead of {self.kind}"
        new: Any = self.settings
        if new and current.settings and new != current.settings:
            triples = zip(new._fields, new, current.settings)
            return ", ".join(f"{name} {old} instead of {wanted}" for name, wanted, old in triples if wanted != old)
        return ""

    def differences(self, current: Link) -> List[str]:
        """What has to change on a device that can stay, each as ``mtu 1400 -> 1450``."""
        changes = []
        for name in _ATTRIBUTES:
            new, old = getattr(self, name), getattr(current, name)
            if new is not None and new != old:
                changes.append(f"{name} {old} -> {new}")
        if self.kind != "" and self.master != current.master:
            changes.append(f"master {current.master} -> {self.master}")
        return changes

    def changes_in_place(self, old: Link) -> bool:
        return not self.recreation(old)

    def compared(self, old: Link) -> str:
        return ": " + ", ".join(self.differences(old))

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return False

    def commands(self, action: str, old: Any) -> List[Command]:
        """None for devices that a runtime makes, which attaches their pod anew."""
        from .command import command

        if action == REMOVE:
            return [command("ip link del {}", self.name)]
        words: List[object] = ["address", self.mac] if self.mac and (old is None or old.mac != self.mac) else []
        mtu = ["mtu", self.mtu] if self.mtu and (old is None or old.mtu != self.mtu) else []
        if action == ADD:
            arguments = device_kind(self.kind).arguments(self)
            if arguments is None:
                return []
            steps = [command("ip link add {}", self.name, more=[*words, *mtu, "type", self.kind, *arguments])]
            steps += [command("ip link set dev {} alias {}", self.name, self.alias)] if self.alias else []
            return [*steps, command("ip link set dev {} up", self.name)] if self.up else steps
        words = [*mtu, *words]
        words += ["alias", self.alias] if self.alias is not None and self.alias != old.alias else []
        words += ["up" if self.up else "down"] if self.up != old.up else []
        return [command("ip link set dev {}", self.name, more=words)] if words else []

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> List[Message]:
        """Of an addition: a device with all it needs, up if wanted, in one message; then what needs it to exist."""
        kind = device_kind(self.kind)
        if action != ADD or not kind.is_made(self):
            return self._change(old if action != ADD else None, index)
        flags = (_UP if self.up else 0) | (_PROMISC if self.promisc else 0) | (_ALLMULTI if self.allmulti else 0)
        body = IFINFO.pack(0, 0, 0, flags, flags) + text(_NAME, self.name)
        later: List[Message] = []
        if self.mtu is not None and kind.mtu_by_change:
            later.append((RTM_NEWLINK, 0, _NAMED + text(_NAME, self.name) + u32(_MTU, self.mtu)))
        elif self.mtu is not None:
            body += u32(_MTU, self.mtu)
        if self.mac is not None:
            body += attribute(_MAC, self.mac)
        if self.master is not None:
            body += u32(_MASTER, index(self.master))
        info = attribute(_INFO_KIND, self.kind.encode()) + attribute(_INFO_DATA, kind.info(self, index, namespaces))
        return [(RTM_NEWLINK, EXCLUSIVE, body + attribute(_LINKINFO, info)), *later, *self._port_and_alias(None)]

    def _change(self, old: Optional[Link], index: Index) -> List[Message]:
        """Set what differs from ``old`` (everything that is declared, if None) on an existing device."""
        body = text(_NAME, self.name)
        if self.mtu is not None and (old is None or self.mtu != old.mtu):
            body += u32(_MTU, self.mtu)
        if self.mac is not None and (old is None or self.mac != old.mac):
            body += attribute(_MAC, self.mac)
        if self.kind not in ("", "loopback") and self.master != (old.master if old else None):
            body += u32(_MASTER, index(self.master) if self.master else 0)
        if self.tx_queue is not None and (old is None or self.tx_queue != old.tx_queue):
            body += u32(_TX_QUEUE, self.tx_queue)
        flags = (_UP if self.up else 0) | (_PROMISC if self.promisc else 0) | (_ALLMULTI if self.allmulti else 0)
        change = _UP if old is None or old.up != self.up else 0
        if self.promisc is not None and (old is None or old.promisc != self.promisc):
            change |= _PROMISC
        if self.allmulti is not None and (old is None or old.allmulti != self.allmulti):
            change |= _ALLMULTI
        head = IFINFO.pack(0, 0, 0, flags & change, change)
        return [(RTM_NEWLINK, 0, head + body), *self._port_and_alias(old)]

    def _port_and_alias(self, old: Optional[Link]) -> Iterator[Message]:
        """What rtnl_create_link leaves out: the alias, the flags of a bridge port, and what the kind can change."""
        name = _NAMED + text(_NAME, self.name)
        if self.alias is not None and (old is None or old.alias != self.alias):
            yield RTM_NEWLINK, 0, name + attribute(_ALIAS, self.alias.encode())
        port = b""
        if self.hairpin is not None and (old is None or old.hairpin != self.hairpin):
            port += attribute(_PORT_HAIRPIN, bytes([self.hairpin]))
        if self.isolated is not None and (old is None or old.isolated != self.isolated):
            port += attribute(_PORT_ISOLATED, bytes([self.isolated]))
        if port:
            info = attribute(_INFO_SLAVE_KIND, b"bridge") + attribute(_INFO_SLAVE_DATA, port)
            yield RTM_NEWLINK, 0, name + attribute(_LINKINFO, info)
        data = device_kind(self.kind).changed_info(self, old)
        if data:
            info = attribute(_INFO_KIND, self.kind.encode()) + attribute(_INFO_DATA, data)
            yield RTM_NEWLINK, 0, name + attribute(_LINKINFO, info)

    def request(self, index: Index) -> tuple[int, bytes]:
        return RTM_GETLINK, link_request(self.name)

    @staticmethod
    def decode(payload: bytes, names: Names) -> Link:
        """``peer`` is always None: the kernel does not say whom a veth was made with."""
        _, hardware, _, flags, _ = IFINFO.unpack_from(payload)
        values = after(payload, IFINFO.size)
        info = nested(values.get(_LINKINFO, b""))
        port = _port(info)
        kind = string(info.get(_INFO_KIND, b"")) or ("loopback" if hardware == _LOOPBACK else "")
        return Link(
            name=string(values[_NAME]),
            kind=kind,
            mtu=number(values[_MTU]),
            mac=MacAddress(values[_MAC]) if len(values.get(_MAC, b"")) == 6 else None,
            up=bool(flags & _UP),
            master=names.get(number(values[_MASTER])) if _MASTER in values else None,
            hairpin=bool(port[_PORT_HAIRPIN][0]) if _PORT_HAIRPIN in port else None,
            isolated=bool(port[_PORT_ISOLATED][0]) if _PORT_ISOLATED in port else None,
            alias=string(values[_ALIAS]) if _ALIAS in values else None,
            promisc=bool(flags & _PROMISC),
            allmulti=bool(flags & _ALLMULTI),
            tx_queue=number(values[_TX_QUEUE]) if _TX_QUEUE in values else None,
            **device_kind(kind).decode(nested(info.get(_INFO_DATA, b"")), names),
        )

    def feature(self) -> str:
        return device_kind(self.kind).feature(self)


def _port(info: Mapping[int, bytes]) -> Mapping[int, bytes]:
    """IFLA_BRPORT_* of a bridge port."""
    return nested(info.get(_INFO_SLAVE_DATA, b"")) if string(info.get(_INFO_SLAVE_KIND, b"")) == "bridge" else {}


def link_request(name: str) -> bytes:
    """Payload of an RTM_GETLINK for one device."""
    return _NAMED + text(_NAME, name) + _SKIP_STATS


def index_request(index: int) -> bytes:
    """Payload of an RTM_GETLINK for the device of an ifindex."""
    return IFINFO.pack(0, 0, index, 0, 0) + _SKIP_STATS


def index_and_name(payload: bytes) -> tuple[int, str]:
    """Of an RTM_NEWLINK."""
    index = IFINFO.unpack_from(payload)[2]
    for kind, value in attributes(payload, IFINFO.size, len(payload)):
        if kind == _NAME:
            return index, value[:-1].decode()
    return index, ""


def alias_of(payload: bytes) -> str | None:
    """IFLA_IFALIAS of an RTM_NEWLINK."""
    for kind, value in attributes(payload, IFINFO.size, len(payload)):
        if kind == _ALIAS:
            return string(value)
    return None


def master_of(payload: bytes) -> int:
    """The ifindex of an RTM_NEWLINK's master, 0 for none."""
    for kind, value in attributes(payload, IFINFO.size, len(payload)):
        if kind == _MASTER:
            return number(value)
    return 0


def peer_of(payload: bytes) -> int:
    """The ifindex of a veth's other end, in that one's namespace (IFLA_LINK); 0 if there is none."""
    value = after(payload, IFINFO.size).get(_LINK)
    return number(value) if value else 0


def is_loopback(payload: bytes) -> bool:
    """Whether an RTM_NEWLINK is the loopback device's."""
    return bool(IFINFO.unpack_from(payload)[1] == _LOOPBACK)


def row(payload: bytes, names: Names) -> Row:
    """A device, for a snapshot. A veth's ``link`` is its peer's ifindex in the namespace of number ``link_netnsid``."""
    link = Link.decode(payload, names)
    values = after(payload, IFINFO.size)
    state = values.get(_OPERSTATE, b"\0")[0]
    result: Row = {
        "ifindex": IFINFO.unpack_from(payload)[2],
        "name": link.name,
        "kind": link.kind,
        "mtu": link.mtu,
        "mac": str(link.mac or ""),
        "up": link.up,
        "state": _OPERATIONAL[state] if state < len(_OPERATIONAL) else "unknown",
    }
    if _LINK in values:
        peer = number(values[_LINK])
        result["link"] = peer if _LINK_NETNSID in values else names.get(peer, str(peer))
    if _MASTER in values:
        result["master"] = names.get(number(values[_MASTER]), str(number(values[_MASTER])))
    if _LINK_NETNSID in values:
        result["link_netnsid"] = struct.unpack("=i", values[_LINK_NETNSID])[0]
    if link.alias is not None:
        result["alias"] = link.alias
    if _STATS in values:  # struct rtnl_link_stats64: packets, bytes, errors, dropped of both directions
        counts = struct.unpack_from("=8Q", values[_STATS])
        for direction, first in (("rx", 0), ("tx", 1)):
            result[direction] = dict(zip(("packets", "bytes", "errors", "dropped"), counts[first::2]))
    if link.settings is not None:
        settings: Any = link.settings
        result[link.kind] = {name: _plain(value) for name, value in zip(settings._fields, settings)}
    info = nested(values.get(_LINKINFO, b""))
    if string(info.get(_INFO_SLAVE_KIND, b"")) == "bridge":
        port = _port(info)
        result["port"] = {name: bool(port[kind][0]) for name, kind in _PORT_FLAGS.items() if kind in port}
        if _PORT_STATE in port and port[_PORT_STATE][0] < len(_PORT_STATES):
            result["port"]["state"] = _PORT_STATES[port[_PORT_STATE][0]]
    return result


def _plain(value: Any) -> Any:
    """A setting as JSON's value; "" for what is not set, such as the address 0.0.0.0."""
    if isinstance(value, (bool, int)):
        return value
    return "" if value is None or getattr(value, "is_unspecified", False) else str(value)
