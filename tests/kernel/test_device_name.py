"""The rule for names of devices, held to the kernel."""

from __future__ import annotations

import os

import pytest

from podwire.errors import KernelError
from podwire.kernel import Namespace, execute
from podwire.model.device_name import is_device_name
from podwire.model.objects import Link
from podwire.plan import ADD, Operation
from tests.unit.test_device_name import BAD, GOOD


@pytest.mark.parametrize("name", GOOD + BAD)
def test_the_kernel_names_a_device_as_it_was_asked(namespace: Namespace, name: str) -> None:
    try:
        execute([(namespace, Operation(ADD, Link(name, "bridge")))], {})
    except (KernelError, OSError):
        made = False
    else:
        with namespace.entered():
            made = name in os.listdir("/proc/sys/net/ipv4/conf")
    assert made == is_device_name(name) or "\u2003" in name
