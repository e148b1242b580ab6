"""The kinds of devices: one module each, by the names that the kernel has for them (IFLA_INFO_KIND)."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING
from . import bridge, device, loopback, veth, vxlan

if TYPE_CHECKING:
    from typing import Any

    from .device import Device

#: Modules whose ``KIND`` says all about it: an installed CNI plugin runs only those of which it has devices.
#: "" are devices that podwire did not make and the kernel has no kind for, such as a machine's Ethernet interface.
DEVICES: dict[str, Any] = {"": loopback, "loopback": loopback, "bridge": bridge, "vxlan": vxlan, "veth": veth}


def device_kind(name: str) -> Device:
    """What is particular about devices of a kind; nothing for those that the table does not have."""
    kind: Device = DEVICES.get(name, device).KIND
    return kind
