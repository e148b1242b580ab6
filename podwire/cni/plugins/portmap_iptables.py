"""portmap's rules where ``backend`` is ``iptables``, in the reference's chains.

::

    PREROUTING, OUTPUT    -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
    CNI-HOSTPORT-DNAT     -p tcp ... --dports 8080,8081 (conditions) -j CNI-DN-90ab12cd...
    CNI-DN-90ab12cd...    -s 10.1.0.0/24 -p tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
                          -s 127.0.0.1/32 -p tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
                          -p tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
    CNI-HOSTPORT-SETMARK  -j MARK --set-xmark 0x2000/0x2000
    POSTROUTING           1: -j CNI-HOSTPORT-MASQ: -m mark --mark 0x2000/0x2000 -j MASQUERADE
"""

from __future__ import annotations

from ipaddress import ip_network

from ...model.objects import IptablesRule
from ...startup_typing import TYPE_CHECKING
from . import chains

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Sequence, Tuple

    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import ResultIp
    from .port_mapping import Mapping

_DNAT, _SET_MARK, _MASQUERADE = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
#: xt_multiport's XT_MULTI_PORTS.
_PORTS_A_RULE = 15
#: Kubernetes has bits 14 and 15, Calico 20 to 31.
_MARK_BIT = 13


def shared(conf: NetConf, version: int, *, snat: bool) -> FrozenSet[IptablesRule]:
    """The rules that all containers' stand on."""
    local = ("-m", "addrtype", "--dst-type", "LOCAL", "-j", _DNAT)
    found = {IptablesRule(version, each, local) for each in ("PREROUTING", "OUTPUT")}
    if snat and not conf.text("externalSetMarkChain"):
        bit = conf.data.get("markMasqBit")
        mark = f"{1 << (_MARK_BIT if bit is None else bit):#x}"
        mark = f"{mark}/{mark}"
        said = ("-m", "comment", "--comment", "CNI portfwd masquerade mark")
        found.add(IptablesRule(version, _SET_MARK, (*said, "-j", "MARK", "--set-xmark", mark)))
        found.add(IptablesRule(version, _MASQUERADE, ("-m", "mark", "--mark", mark, "-j", "MASQUERADE")))
        said = ("-m", "comment", "--comment", "CNI portfwd requiring masquerade")
        # Before the rules of ipMasq, which would decide first.
        found.add(IptablesRule(version, "POSTROUTING", (*said, "-j", _MASQUERADE), order=-1))
    return frozenset(found)


def rules(
    conf: NetConf, attachment: Attachment, ip: ResultIp, mappings: Sequence[Mapping], *, snat: bool
) -> FrozenSet[IptablesRule]:
    """The rules of one address of a container."""
    return frozenset((*_entries(conf, attachment, ip, mappings), *_own(conf, attachment, ip, mappings, snat)))


def _entries(
    conf: NetConf, attachment: Attachment, ip: ResultIp, mappings: Sequence[Mapping]
) -> Iterable[IptablesRule]:
    version = ip.address.version
    conditions: List[str] = conf.data.get(f"conditionsV{version}") or []
    ports: Dict[str, List[str]] = {}
    for mapping in mappings:
        listed = ports.setdefault(mapping.protocol, [])
        if str(mapping.host_port) not in listed:
            listed.append(str(mapping.host_port))
    for protocol, listed in ports.items():
        for start in range(0, len(listed), _PORTS_A_RULE):
            some = ",".join(listed[start : start + _PORTS_A_RULE])
            words = (
                "-p",
                protocol,
                *chains.comment(chains.PORTS, conf, attachment),
                "-m",
                "multiport",
                "--dports",
                some,
            )
            made = chains.rule(chains.PORTS, conf, attachment, version, *words, *conditions, chain=_DNAT)
            yield made._replace(free=bool(conditions))


def _own(
    conf: NetConf, attachment: Attachment, ip: ResultIp, mappings: Sequence[Mapping], snat: bool
) -> Iterable[IptablesRule]:
    version = ip.address.version
    own = ip.address.ip
    mark = conf.text("externalSetMarkChain") or _SET_MARK
    sources: List[Tuple[str, ...]] = [("-s", str(ip.address.network))]
    if conf.flag("masqAll"):
        sources = [()]
    elif version == 4:
        sources.append(("-s", "127.0.0.1/32"))
    for number, each in enumerate(mappings):
        to = f"{own}:{each.container_port}" if version == 4 else f"[{own}]:{each.container_port}"
        anywhere = each.host_ip is None or each.host_ip.is_unspecified
        where = () if anywhere or each.host_ip is None else ("-d", str(ip_network(each.host_ip)))
        port = ("-p", each.protocol, "-m", each.protocol, "--dport", str(each.host_port))
        for source in sources if snat else ():
            yield chains.rule(chains.PORTS, conf, attachment, version, *source, *where, *port, "-j", mark, order=-1)
        # One address of the node before all of them, as in the other backend.
        order = number + (len(mappings) if anywhere else 0)
        translate = ("-j", "DNAT", "--to-destination", to)
        yield chains.rule(chains.PORTS, conf, attachment, version, *where, *port, *translate, order=order)
