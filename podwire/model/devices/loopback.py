"""The loopback device, and those that podwire did not make: they are only configured."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING
from .device import Device

if TYPE_CHECKING:
    from .device import Particulars


class Given(Device):
    """A device that exists."""

    def is_made(self, link: Particulars) -> bool:
        return False


KIND = Given()
