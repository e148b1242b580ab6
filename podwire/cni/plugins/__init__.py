"""The plugins that can run in this process, by the type that a NetConf calls them."""

from __future__ import annotations

from ...lean import TYPE_CHECKING
from ..plugin import Plugin
from .bridge import Bridge
from .ptp import Ptp

if TYPE_CHECKING:
    from typing import Dict

PLUGINS: Dict[str, Plugin] = {plugin.type: plugin for plugin in (Bridge(), Ptp())}
