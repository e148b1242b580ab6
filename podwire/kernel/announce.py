"""Tell the neighbours at which MAC address an address lives now."""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Link
from . import rtnl
from .namespace import Namespace


def announce(namespace: Namespace, links: Iterable[Link]) -> None:
    """Have the kernel send gratuitous ARP and unsolicited neighbour advertisements for all addresses of devices
    whose MAC address is declared. Nobody has to hear them, so what the kernel refuses is left at that.

    The kernel does so on NETDEV_CHANGEADDR where ``arp_notify`` and ``ndisc_notify`` are set
    (inetdev_event in net/ipv4/devinet.c, ndisc_netdev_event in net/ipv6/ndisc.c), and setting the MAC
    address that a device already has counts as a change (netif_set_mac_address). Packet sockets are no
    alternative: closing each one waits for an RCU grace period.
    """
    messages = []
    for link in links:
        if link.mac is not None:
            messages += rtnl.link_change(link, link._replace(mac=None), lambda name: 0)
    namespace.socket.batch(messages)
