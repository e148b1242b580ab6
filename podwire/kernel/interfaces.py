"""What a machine has before podwire: its interfaces with their addresses."""

from __future__ import annotations

from ..model.address import RTM_GETADDR, Address, status
from ..model.link import Link, alias_of, index_and_name, is_loopback
from ..model.values import BACKEND_ALIAS
from ..startup_typing import NamedTuple
from . import devices
from .namespaces import Namespace


class Interface(NamedTuple):
    """An interface with addresses, ``address/length`` each, those first that the kernel would send from."""

    name: str
    mtu: int
    addresses: list[str]


def interfaces(namespace: Namespace) -> list[Interface]:
    """Every interface that has addresses, in the kernel's order; without loopback and a backend's own devices.
    Link-local, temporary and deprecated addresses are left out."""
    names: dict[int, str] = {}
    by_name: dict[str, Interface] = {}
    for payload in devices.dump(namespace):
        index, name = index_and_name(payload)
        if not is_loopback(payload) and alias_of(payload) != BACKEND_ALIAS:
            names[index] = name
            by_name[name] = Interface(name, Link.decode(payload, {}).mtu or 0, [])
    later: list[tuple[str, str]] = []
    for _, payload in namespace.socket.dump(RTM_GETADDR, bytes(8)):
        address, flags = Address.decode(payload, names), status(payload)
        if address is None or address.device not in by_name or flags.deprecated:
            continue
        if not flags.secondary:
            by_name[address.device].addresses.append(str(address.interface))
        elif address.interface.version == 4:
            later.append((address.device, str(address.interface)))
    for device, text in later:
        by_name[device].addresses.append(text)
    return [interface for interface in by_name.values() if interface.addresses]
