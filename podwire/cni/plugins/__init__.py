"""The plugins. PLUGINS are those that the runtime runs in its own process, by the type that a NetConf calls them.

It is made when first asked for: an executable needs only its own plugin (see skel.py).
"""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Dict

    from .plugin import Plugin

    PLUGINS: Dict[str, Plugin]
else:

    def __getattr__(name: str) -> Any:
        if name != "PLUGINS":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .bridge import PLUGIN as bridge
        from .ptp import PLUGIN as ptp

        return {plugin.type: plugin for plugin in (bridge, ptp)}
