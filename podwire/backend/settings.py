"""What an inventory says of its backend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackendSettings:
    """``type`` is a key of ``BACKENDS``. ``mtu`` is the pods' MTU in bytes; None is worked out."""

    type: str = "vxlan"
    vni: int = 1
    port: int = 8472
    direct_routing: bool = False
    mtu: int | None = None
