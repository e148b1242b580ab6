"""Tell the neighbours at which MAC address an address lives now, where they believe otherwise; or ask them first."""

from __future__ import annotations

import sys

from ..errors import KernelError
from ..model.objects import Address, IPAddress, Link, MacAddress
from ..startup_typing import TYPE_CHECKING
from .namespaces import Namespace
from .netlink import rtnetlink
from .netlink.socket import attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
#: As long as the reference waits.
_DETECTION_S = 10


def stale_neighbours(
    namespace: Namespace, places: Mapping[IPAddress, MacAddress], devices: Sequence[str] | None = None
) -> frozenset[IPAddress]:
    """The addresses that the namespace's neighbour tables, whatever the state of the entry, know at another MAC.

    With ``devices`` only entries on these count, and they are asked for one by one: a dump goes through the
    neighbours of all namespaces of the machine.
    """
    wanted = {address.packed: address for address in places}
    found: set[IPAddress] = set()
    for payload in _all_of(namespace) if devices is None else _on(namespace, wanted, devices):
        length = int.from_bytes(payload[12:14], sys.byteorder)
        address = wanted.get(payload[16 : 12 + length])  # NDA_DST comes first (neigh_fill_info)
        if address is not None:
            mac = dict(attributes(payload, 12, len(payload))).get(2)  # NDA_LLADDR
            if mac is not None and mac != places[address]:
                found.add(address)
    return frozenset(found)


def _all_of(namespace: Namespace) -> list[bytes]:
    return [payload for _, payload in namespace.socket.dump(rtnetlink.RTM_GETNEIGH, bytes(12))]


def _on(namespace: Namespace, addresses: Iterable[bytes], devices: Sequence[str]) -> Iterator[bytes]:
    for device in devices:
        link = namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(device))
        if link is None:
            continue
        for packed in addresses:
            request = rtnetlink.neighbour_lookup(packed, rtnetlink.read_link_name(link)[0])
            try:
                answer = namespace.socket.get(rtnetlink.RTM_GETNEIGH, request)
            except KernelError as error:
                if error.errno == 95:  # EOPNOTSUPP: before Linux 5.0 only dumps tell, and announcing is no duty
                    return
                raise
            if answer is not None:
                yield answer


def announce(namespace: Namespace, links: Iterable[Link]) -> None:
    """Have the kernel send gratuitous ARP and unsolicited neighbour advertisements for all addresses of devices
    whose MAC address is declared. Nobody has to hear them, so what the kernel refuses is left at that.

    The kernel does so on NETDEV_CHANGEADDR where ``arp_notify`` and ``ndisc_notify`` are set
    (inetdev_event in net/ipv4/devinet.c, ndisc_netdev_event in net/ipv6/ndisc.c), and setting the MAC
    address that a device already has counts as a change (netif_set_mac_address). Packet sockets are no
    alternative: closing each one waits for an RCU grace period. Not to be done without need: each
    announcement goes to every port of a bridge, so that 200 pods would hear 40,000.
    """
    messages = []
    for link in links:
        if link.mac is not None:
            messages += rtnetlink.link_change(link, link._replace(mac=None), lambda name: 0)
    namespace.socket.batch(messages)


def wait_for_dad(namespace: Namespace, addresses: Iterable[Address]) -> None:
    """Until duplicate address detection let all these addresses through. KernelError if one is taken, or after ten
    seconds: the kernel asks for one to two (RFC 4862, section 5.4)."""
    import time

    wanted = {address.interface.ip.packed: address for address in addresses}
    deadline = time.monotonic() + _DETECTION_S
    while True:
        flags = _flags(namespace)
        taken = [str(wanted[packed]) for packed in wanted if flags.get(packed, 0) & _IFA_F_DADFAILED]
        waiting = [str(wanted[packed]) for packed in wanted if flags.get(packed, _IFA_F_TENTATIVE) & _IFA_F_TENTATIVE]
        if taken:
            raise KernelError(f"failed to use {', '.join(taken)} in {namespace.name}: somebody else on the link has it")
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise KernelError(f"failed to use {', '.join(waiting)} in {namespace.name}: still tentative")
        time.sleep(0.02)


def _flags(namespace: Namespace) -> dict[bytes, int]:
    found = {}
    for _, payload in namespace.socket.dump(rtnetlink.RTM_GETADDR, bytes(8)):
        values = dict(attributes(payload, 8, len(payload)))
        packed = values.get(2) or values.get(1)  # IFA_LOCAL, IFA_ADDRESS
        if packed is not None:
            found[packed] = int.from_bytes(values.get(8, b""), sys.byteorder)  # IFA_FLAGS
    return found
