"""plan(desired, current): properties that hold for any two states, and the order that the kernel needs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Callable

from hypothesis import given
from hypothesis import strategies as st

from podwire.model.objects import (
    Address,
    Chain,
    FdbEntry,
    File,
    IptablesRule,
    Link,
    MacAddress,
    NatRule,
    Neighbour,
    NextHop,
    PortVlans,
    Route,
    Rule,
    Sysctl,
    VethPeer,
    Vxlan,
)
from podwire.model.state import EMPTY, State
from podwire.plan import ADD, CHANGE, REMOVE, Operation, plan

DEVICES = ("flannel.1", "cni0", "veth1")
macs = st.integers(0, 5).map(lambda n: MacAddress(b"\x66\0\0\0\0" + bytes([n])))
addresses = st.integers(0x0A000001, 0x0A000008).map(IPv4Address)
networks = st.integers(0, 6).map(lambda n: IPv4Network((0x0A010000 + (n << 8), 24)))
devices = st.sampled_from(DEVICES)


def sets(values: st.SearchStrategy[Any]) -> st.SearchStrategy[frozenset[Any]]:
    return st.frozensets(values, max_size=6)


def unique(values: st.SearchStrategy[Any], key: Any) -> st.SearchStrategy[frozenset[Any]]:
    """What a kernel can hold: one object a key."""
    return st.lists(values, max_size=6, unique_by=key).map(frozenset)


def made(kind: Callable[..., Any], *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of a kind from these parts and its defaults (builds would make up values for those, too)."""
    return st.tuples(*parts).map(lambda values: kind(*values))


@st.composite
def links(draw: st.DrawFn) -> frozenset[Link]:
    found = []
    if draw(st.booleans()):
        vxlan = Vxlan(draw(st.integers(1, 2)), 8472, IPv4Address("10.0.0.1"), "eth0")
        found.append(Link("flannel.1", "vxlan", draw(st.sampled_from((1400, 1450))), draw(macs), settings=vxlan))
    if draw(st.booleans()):
        found.append(Link("cni0", "bridge", 1450, draw(macs), up=draw(st.booleans())))
        if draw(st.booleans()):
            found.append(Link("veth1", "veth", 1450, master="cni0", peer=VethPeer("pod", "eth0")))
    return frozenset(found)


states = st.builds(
    State,
    links=links(),
    sysctls=unique(
        made(Sysctl, st.sampled_from(("a/b/c", "net/ipv4/conf/cni0/x")), st.sampled_from("01")), lambda s: s.key
    ),
    addresses=unique(
        made(Address, devices, addresses.map(lambda a: IPv4Interface((a, 24)))), lambda a: (a.device, a.interface)
    ),
    neighbours=unique(made(Neighbour, devices, addresses, macs), lambda n: (n.device, n.address)),
    fdb=unique(made(FdbEntry, devices, macs, addresses), lambda e: (e.device, e.mac)),
    vlans=unique(made(PortVlans, devices, st.integers(1, 3).map(lambda n: ((n, 0),))), lambda v: v.device),
    next_hops=unique(made(NextHop, st.integers(1, 4), addresses, devices), lambda h: h.id),
    routes=unique(made(Route, networks, addresses, devices), lambda r: (r.destination, r.table, r.metric)),
    nat_rules=sets(made(NatRule, networks, st.tuples(networks))),
    rules=sets(
        st.builds(Rule, st.just(Chain("inet", "t", "c")), st.sampled_from("ab"), st.just(""), st.just(""), st.just(b""))
    ),
    iptables=sets(made(IptablesRule, st.sampled_from((4, 6)), st.just("CNI-X"), st.sampled_from((("-j", "A"), ())))),
    files=unique(made(File, st.sampled_from(("/a", "/b")), st.sampled_from("xy")), lambda f: f.path),
)


def perform(current: State, operations: list[Operation]) -> State:
    """What a kernel does: objects appear under their key, and go with the device they stand on."""
    state = current
    for action, each, previous in operations:
        for name in State._fields:
            field: frozenset[Any] = getattr(state, name)
            if type(each) is not _types[name]:
                continue
            if action == ADD:
                if not isinstance(each, Link):
                    assert not [old for old in field if KEYS[name](old) == KEYS[name](each)], f"added twice: {each}"
                field = field | {each}
            elif action == CHANGE:
                assert previous in field, f"changes what is not there: {previous}"
                field = field - {previous} | {each}
            else:
                assert each in field, f"removes what is not there: {each}"
                field = field - {each}
            state = state._replace(**{name: field})
        if action == REMOVE and isinstance(each, Link):
            state = without_device(state, each.name)
    return state


KEYS: dict[str, Callable[[Any], Any]] = {
    "sysctls": lambda s: s.key,
    "addresses": lambda a: (a.device, a.interface),
    "neighbours": lambda n: (n.device, n.address),
    "fdb": lambda e: (e.device, e.mac),
    "vlans": lambda v: v.device,
    "next_hops": lambda h: h.id,
    "routes": lambda r: (r.destination, r.table, r.metric),
    "nat_rules": lambda n: n,
    "rules": lambda r: r,
    "iptables": lambda r: r,
    "files": lambda f: f.path,
}
_KINDS = (Link, Sysctl, Address, Neighbour, FdbEntry, PortVlans, NextHop, Route, NatRule, Rule, IptablesRule, File)
_types = dict(zip(State._fields, _KINDS))


def without_device(state: State, device: str) -> State:
    hops = {hop.id for hop in state.next_hops if hop.device == device}
    return state._replace(
        sysctls=frozenset(s for s in state.sysctls if f"/{device}/" not in s.key),
        **{
            name: frozenset(each for each in getattr(state, name) if each.device != device)
            for name in ("addresses", "neighbours", "fdb", "vlans", "next_hops")
        },
        routes=frozenset(r for r in state.routes if r.device != device and r.next_hop not in hops),
    )


def standing(state: State) -> State:
    """Only what a kernel could hold: nothing stands on a device that is not there."""
    names = {link.name for link in state.links}
    for device in set(DEVICES) - names:
        state = without_device(state, device)
    return state


@given(states)
def test_a_state_needs_nothing_to_become_itself(state: State) -> None:
    assert plan(state, state) == []


@given(states, states)
def test_the_operations_lead_from_one_state_to_the_other(desired: State, current: State) -> None:
    desired, current = standing(desired), standing(current)
    after = perform(current, plan(desired, current))
    kept = {sysctl.key: sysctl for sysctl in current.sysctls}  # a sysctl is set, never removed
    kept.update({sysctl.key: sysctl for sysctl in desired.sysctls})
    names = {link.name for link in desired.links}
    assert {s for s in after.sysctls if "cni0" not in s.key or "cni0" in names} <= set(kept.values())
    assert desired.sysctls <= after.sysctls
    assert after._replace(sysctls=frozenset()) == desired._replace(sysctls=frozenset())
    assert plan(desired, after) == []


@given(states, states)
def test_a_plan_is_the_same_every_time(desired: State, current: State) -> None:
    shuffled = State._make(frozenset(sorted(field, key=repr, reverse=True)) for field in current)
    assert plan(desired, current) == plan(desired, shuffled)


@given(states, states)
def test_what_both_hold_is_not_touched_unless_its_device_is_made_anew(desired: State, current: State) -> None:
    desired, current = standing(desired), standing(current)
    operations = plan(desired, current)
    renewed = {op.object.name for op in operations if op.action == REMOVE and isinstance(op.object, Link)}
    left = current
    for device in renewed:
        left = without_device(left, device)
    lost = set(current.objects()) - set(left.objects())
    for operation in operations:
        if not isinstance(operation.object, Link) and operation.object in set(desired.objects()) & set(
            current.objects()
        ):
            assert operation.object in lost


VX = Link(
    "flannel.1", "vxlan", 1450, MacAddress(b"\x66\0\0\0\0\1"), settings=Vxlan(1, 8472, IPv4Address("10.0.0.1"), "eth0")
)
PEER = IPv4Address("10.1.1.0")
OVERLAY = State(
    links=frozenset([VX]),
    neighbours=frozenset([Neighbour("flannel.1", PEER, MacAddress(b"\x66\0\0\0\0\2"))]),
    routes=frozenset([Route(IPv4Network("10.1.1.0/24"), PEER, "flannel.1", True)]),
)


def lines(desired: State, current: State) -> list[str]:
    return [str(operation) for operation in plan(desired, current)]


def test_a_new_vni_means_a_new_device_and_all_that_stood_on_it() -> None:
    assert isinstance(VX.settings, Vxlan)
    renewed = OVERLAY._replace(links=frozenset([VX._replace(settings=VX.settings._replace(vni=2))]))
    assert [line.split(" ", 3)[:3] for line in lines(renewed, OVERLAY)] == [
        ["-", "link", "flannel.1"],
        ["+", "link", "flannel.1"],
        ["+", "neighbour", "10.1.1.0"],
        ["+", "route", "10.1.1.0/24"],
    ]


def test_addresses_make_way_for_the_routes_of_their_new_owner() -> None:
    """Two nodes change podCIDRs: the old VTEP address is the new gateway, the old bridge holds the new route."""
    vtep, bridge = (
        Address(name, IPv4Interface(text)) for name, text in (("flannel.1", "10.1.1.0/32"), ("cni0", "10.1.1.1/24"))
    )
    current = State(links=frozenset([VX, Link("cni0", "bridge")]), addresses=frozenset([vtep, bridge]))
    assert [line.split(" proto")[0] for line in lines(OVERLAY, current)] == [
        "- address 10.1.1.1/24 dev cni0",
        "- address 10.1.1.0/32 dev flannel.1",
        "+ neighbour 10.1.1.0 lladdr 66:00:00:00:00:02 dev flannel.1 permanent",
        "+ route 10.1.1.0/24 via 10.1.1.0 dev flannel.1 onlink",
        "- link cni0 bridge up",
    ]


def test_a_route_moves_by_replacement_before_its_old_device_goes() -> None:
    direct = State(routes=frozenset([Route(IPv4Network("10.1.1.0/24"), IPv4Address("10.0.0.2"), "eth0")]))
    assert lines(direct, OVERLAY) == [
        "~ route 10.1.1.0/24 via 10.0.0.2 dev eth0 proto 112"
        " (was: route 10.1.1.0/24 via 10.1.1.0 dev flannel.1 onlink proto 112)",
        f"- {VX}",
    ]


def test_mtu_and_mac_are_mended_in_place() -> None:
    wrong = VX._replace(mtu=1400, mac=MacAddress(b"\x66\0\0\0\0\7"))
    (line,) = lines(OVERLAY, OVERLAY._replace(links=frozenset([wrong])))
    assert line.startswith("~ link flannel.1 ")
    assert line.endswith(": mtu 1400 -> 1450, mac 66:00:00:00:00:07 -> 66:00:00:00:00:01")


def test_two_routes_under_one_key_make_way_for_one() -> None:
    route = Route(IPv4Network("10.1.1.0/24"), PEER, "flannel.1", True)
    strays = frozenset(
        [route._replace(gateway=IPv4Address("10.9.9.9")), route._replace(gateway=IPv4Address("10.9.9.8"))]
    )
    actions = [op.action for op in plan(OVERLAY, OVERLAY._replace(routes=strays))]
    assert actions == [REMOVE, REMOVE, ADD]


def test_everything_goes_in_reverse_order() -> None:
    assert [line.split()[1] for line in lines(EMPTY, OVERLAY)] == ["link"]
    kept = EMPTY._replace(links=OVERLAY.links)
    assert [line.split()[1] for line in lines(kept, OVERLAY)] == ["route", "neighbour"]
