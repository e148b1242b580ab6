"""A port of the node that leads to a container's."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Optional

    from ...model.objects import IPAddress


class Mapping(NamedTuple):
    """One entry of ``runtimeConfig.portMappings``."""

    host_port: int
    container_port: int
    protocol: str
    host_ip: Optional[IPAddress]
