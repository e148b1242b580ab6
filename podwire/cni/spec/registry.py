"""Podwire's own plugins, by the type that a configuration calls them."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Mapping


class Entry(NamedTuple):
    """``module`` of podwire.cni.plugins; ``lowest`` version of the specification; whether it is a projection
    (``PLUGIN``), which the engine runs, or has the commands itself (``COMMANDS``)."""

    module: str
    lowest: str
    projects: bool


PLUGINS: Mapping[str, Entry] = {
    "bandwidth": Entry("bandwidth", "0.3.0", False),
    "bridge": Entry("bridge", "0.1.0", True),
    "firewall": Entry("firewall", "0.4.0", True),
    "flannel": Entry("flannel", "0.1.0", False),
    "host-local": Entry("host_local", "0.1.0", False),
    "loopback": Entry("loopback", "0.1.0", False),
    "portmap": Entry("portmap", "0.3.0", True),
    "ptp": Entry("ptp", "0.1.0", True),
    "static": Entry("static", "0.1.0", False),
    "tuning": Entry("tuning", "0.3.1", False),
}
