"""Tell the neighbours at which MAC address an address lives now, where they believe otherwise; or ask them first."""

from __future__ import annotations

from ..errors import KernelError
from ..model.address import RTM_GETADDR, AddressStatus, status
from ..model.kind import CHANGE
from ..model.link import index_and_name
from ..model.neighbour import RTM_GETNEIGH, neighbour_lookup, resolved
from ..startup_typing import TYPE_CHECKING
from . import devices as devices_of
from .namespaces import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..model.objects import Address, IPAddress, Link, MacAddress

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
    stale: set[IPAddress] = set()
    for payload in _all_of(namespace) if devices is None else _on(namespace, wanted, devices):
        packed, mac = resolved(payload)
        address = wanted.get(packed)
        if address is not None and mac is not None and mac != places[address]:
            stale.add(address)
    return frozenset(stale)


def _all_of(namespace: Namespace) -> list[bytes]:
    return [payload for _, payload in namespace.socket.dump(RTM_GETNEIGH, bytes(12))]


def _on(namespace: Namespace, addresses: Iterable[bytes], devices: Sequence[str]) -> Iterator[bytes]:
    for device in devices:
        link = devices_of.find(namespace, device)
        if link is None:
            continue
        for packed in addresses:
            request = neighbour_lookup(packed, index_and_name(link)[0])
            try:
                answer = namespace.socket.get(RTM_GETNEIGH, request)
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
            messages += link.messages(CHANGE, link._replace(mac=None), lambda name: 0, {})
    namespace.socket.batch(messages)


def wait_for_dad(namespace: Namespace, addresses: Iterable[Address]) -> None:
    """Until duplicate address detection let all these addresses through. KernelError if one is taken, or after ten
    seconds: the kernel asks for one to two (RFC 4862, section 5.4)."""
    import time

    wanted = {address.interface.ip.packed: address for address in addresses}
    deadline = time.monotonic() + _DETECTION_S
    while True:
        statuses = _statuses(namespace)
        duplicate = [str(wanted[packed]) for packed in wanted if packed in statuses and statuses[packed].taken]
        waiting = [str(wanted[packed]) for packed in wanted if packed not in statuses or statuses[packed].tentative]
        if duplicate:
            raise KernelError(
                f"failed to use {', '.join(duplicate)} in {namespace.name}: somebody else on the link has it"
            )
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise KernelError(f"failed to use {', '.join(waiting)} in {namespace.name}: still tentative")
        time.sleep(0.02)


def _statuses(namespace: Namespace) -> dict[bytes, AddressStatus]:
    dump = (status(payload) for _, payload in namespace.socket.dump(RTM_GETADDR, bytes(8)))
    return {address.packed: address for address in dump}
