"""What is particular about devices of one kind (rtnl_link_ops of the kernel), and the defaults of it."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, List, Optional

    from ..wire import Index, Names


class Particulars(Protocol):
    """The fields of a Link that only some kinds of devices have."""

    @property
    def settings(self) -> Optional[tuple[Any, ...]]:
        """What cannot be changed, a named tuple."""

    @property
    def peer(self) -> Any:
        """A veth's other end."""

    @property
    def vlan_filtering(self) -> Optional[bool]:
        """A bridge's."""


class Device:
    """A kind without anything particular, such as ifb. Others override what they have.

    A kind's settings are a named tuple, ``Link.settings``: what the kernel cannot change on a device that exists, so
    that another one has to be made where they differ.
    """

    #: The class of the kind's settings.
    settings: Optional[type[Any]] = None
    #: Whether only a change makes an MTU that the device keeps.
    mtu_by_change = False

    def is_made(self, link: Particulars) -> bool:
        """Whether adding it creates it; otherwise it exists by then, and is configured."""
        return True

    def info(self, link: Particulars, index: Index, namespaces: Mapping[str, int]) -> bytes:
        """IFLA_INFO_DATA of a new device."""
        return b""

    def changed_info(self, link: Particulars, old: Optional[Particulars]) -> bytes:
        """IFLA_INFO_DATA of what is to be changed in place."""
        return b""

    def decode(self, data: Mapping[int, bytes], names: Names) -> dict[str, Any]:
        """Fields of Link that a device's IFLA_INFO_DATA tells."""
        return {}

    def words(self, link: Particulars) -> List[str]:
        """What people read of its settings."""
        return []

    def arguments(self, link: Particulars) -> Optional[List[object]]:
        """What stands behind ``ip link add NAME ... type KIND``; None for devices that nobody makes by hand."""
        return None

    def feature(self, link: Particulars) -> str:
        """What a kernel lacks that refuses the device."""
        return "the feature"


KIND = Device()
