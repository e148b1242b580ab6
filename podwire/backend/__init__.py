"""Backends: how pods of other nodes are reached. One file each, and one line in ``BACKENDS``."""

from __future__ import annotations

from typing import Dict, FrozenSet, Type

from .descriptor import Backend
from .endpoint import Endpoint
from .host_gw import HostGwBackend
from .settings import BackendSettings
from .vxlan import VxlanBackend

__all__ = ["BACKENDS", "Backend", "BackendSettings", "Endpoint", "backend_of", "device_names"]

BACKENDS: Dict[str, Type[Backend]] = {
    VxlanBackend.type: VxlanBackend,
    HostGwBackend.type: HostGwBackend,
}


def backend_of(settings: BackendSettings) -> Backend:
    """The backend with a cluster's settings."""
    return BACKENDS[settings.type](settings)


def device_names(settings: BackendSettings) -> FrozenSet[str]:
    """Names of the devices of every backend with these settings: a node may still have those of an earlier type."""
    devices = (backend(settings).device(version) for backend in BACKENDS.values() for version in (4, 6))
    return frozenset(filter(None, devices))
