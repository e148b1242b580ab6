"""One rule for names of devices, for inventories and for CNI: what the kernel gives to a device as it was asked for."""

from __future__ import annotations

import pytest

from podwire.cni.plugins.bridge import settings_of
from podwire.cni.spec.netconf import Attachment, NetConf
from podwire.errors import CniError, IntentError
from podwire.intent.inventory import read
from podwire.model.device_name import is_device_name

GOOD = ("cni0", "br-lan.7", "a", "x;id", "brücke", "fifteen-bytes-0")
BAD = ("", ".", "..", "br%d", "a/b", "eth0:1", "a b", "a\tb", "a\u2003b", "à", "sixteen-bytes-00", "ü" * 8)


def accepted(name: str) -> set[str]:
    """Who takes a name: the inventory, the bridge's configuration, a container's interface."""
    takers = {"inventory", "bridge", "attachment"}
    try:
        read({"node-1": {"cni": {"bridge": name}}}, source="lab/hosts.yml")
    except IntentError:
        takers.discard("inventory")
    try:
        settings_of(NetConf("1.0.0", "net", "bridge", {"bridge": name}))
    except CniError:
        takers.discard("bridge")
    try:
        Attachment("c1", name, "/run/netns/c1").validate()
    except CniError:
        takers.discard("attachment")
    return takers


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_everybody_takes(name: str) -> None:
    assert is_device_name(name)
    assert accepted(name) == {"inventory", "bridge", "attachment"}


@pytest.mark.parametrize("name", BAD[1:])
def test_a_name_that_nobody_takes(name: str) -> None:
    assert not is_device_name(name)
    assert accepted(name) == set()
