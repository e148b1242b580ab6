"""loopback: lo comes up. CNI_IFNAME is ignored: there is only one loopback device."""

from __future__ import annotations

from ipaddress import ip_interface

from ...errors import CNI_INVALID_NETNS, CNI_KERNEL_FAILURE, CniError, KernelError
from ...kernel import Namespace, execute, link_of
from ...model.objects import MacAddress
from ...plan import CHANGE, Operation
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.result import Interface, Result, ResultIp

_ADDRESSES = ("127.0.0.1/8", "::1/128")


class Loopback(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """lo up; prevResult passed on, else lo and its addresses."""
        _set(call, up=True, check=False)
        if call.previous is not None:
            return call.previous
        lo = Interface("lo", MacAddress(6), call.attachment.netns)
        return Result((lo,), tuple(ResultIp(ip_interface(each), interface=0) for each in _ADDRESSES))

    def check(self, call: CmdArgs) -> None:
        """lo is up."""
        if _set(call, up=True, check=True):
            raise CniError(
                CNI_KERNEL_FAILURE, f"lo is down in {call.attachment.netns}", "something took it down after ADD"
            )

    def delete(self, call: CmdArgs) -> None:
        """lo down, if its namespace is still there."""
        try:
            if call.attachment.netns:
                _set(call, up=False, check=False)
        except CniError as error:
            if error.code != CNI_INVALID_NETNS:
                raise

    def collect(self, call: CmdArgs) -> None:
        """lo goes with its namespace: there is nothing to collect."""
        call.valid_attachments()

    def status(self, call: CmdArgs) -> None:
        """Always ready."""


COMMANDS: Commands = Loopback()


def _set(call: CmdArgs, *, up: bool, check: bool) -> bool:
    """Whether lo was not as it should be. Addresses of lo are nobody's business here."""
    try:
        with Namespace.open(call.attachment.netns, call.attachment.name) as namespace:
            found = link_of(namespace, "lo")
            if found is None or found.up == up:
                return False
            if not check:
                execute([(namespace, Operation(CHANGE, found._replace(up=up), found))], {})
            return True
    except KernelError as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to use {call.attachment.netns}: {error.message}") from error
