"""converge on a real kernel: idempotent, mending, all or nothing."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Callable, Mapping, Sequence

import pytest

from podwire.converge import Outcome, Target, converge
from podwire.errors import ConflictError, KernelError, PodwireError, RollbackError, VerificationError
from podwire.kernel import Namespace, Step, execute, show
from podwire.model.objects import (
    BACKEND_ALIAS,
    Address,
    FdbEntry,
    File,
    Link,
    MacAddress,
    NatRule,
    Neighbour,
    NextHop,
    Route,
    Sysctl,
    VethPeer,
    Vxlan,
)
from podwire.model.state import EMPTY, Scope, State, scope_of
from podwire.plan import plan

UNDERLAY = State(
    links=frozenset([Link("lo", "loopback"), Link("eth0", "bridge", 1500, MacAddress.parse("02:00:00:00:00:01"))]),
    addresses=frozenset([Address("eth0", IPv4Interface("172.30.0.11/24"))]),
)


def overlay(*peers: int, vni: int = 1, mtu: int = 1450, hops: bool = False) -> State:
    """What flannel would make for peers 172.30.0.<n> with 10.244.<n>.0/24."""
    name = f"flannel.{vni}"
    bases = {n: IPv4Address(0x0AF40000 + (n << 8)) for n in peers}
    macs = {n: MacAddress(b"\x66\0\0\0\0" + bytes([n])) for n in peers}
    settings = Vxlan(vni, 8472, IPv4Address("172.30.0.11"), "eth0")
    networks = {n: IPv4Network((int(base), 24)) for n, base in bases.items()}
    return State(
        links=frozenset(
            [Link(name, "vxlan", mtu, MacAddress(b"\x66\0\0\0\0\x0b"), settings=settings, alias=BACKEND_ALIAS)]
        ),
        sysctls=frozenset([Sysctl("net/ipv4/ip_forward", "1"), Sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")]),
        addresses=frozenset([Address(name, IPv4Interface("10.244.11.0/32"))]),
        neighbours=frozenset(Neighbour(name, bases[n], macs[n]) for n in peers),
        fdb=frozenset(FdbEntry(name, macs[n], IPv4Address(f"172.30.0.{n}")) for n in peers),
        next_hops=frozenset(NextHop(int(bases[n]), bases[n], name, True) for n in peers if hops),
        routes=frozenset(
            Route(networks[n], next_hop=int(bases[n])) if hops else Route(networks[n], bases[n], name, True)
            for n in peers
        ),
        nat_rules=frozenset([NatRule(IPv4Network("10.244.11.0/24"), (IPv4Network("10.244.0.0/16"),))]),
    )


def target(namespace: Namespace, desired: State) -> Target:
    return Target(namespace, desired, scope_of(desired, alias=BACKEND_ALIAS, nat="podwire"))


@pytest.fixture
def node(namespace: Namespace) -> Namespace:
    """A namespace with an external interface."""
    converge([Target(namespace, UNDERLAY, scope_of(UNDERLAY))])
    return namespace


def bring(namespace: Namespace, desired: State) -> Outcome:
    return converge([target(namespace, desired)])


def ip(*words: str) -> str:
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True).stdout


def assert_shows(namespace: Namespace, desired: State) -> None:
    assert plan(desired, show(namespace, target(namespace, desired).scope).state) == []


@pytest.mark.parametrize("hops", [False, True], ids=["routes", "next-hop objects"])
def test_a_second_run_changes_nothing(node: Namespace, hops: bool) -> None:
    assert bring(node, overlay(2, 3, hops=hops)).changed
    assert not bring(node, overlay(2, 3, hops=hops)).changed


def test_check_mode_says_the_same_and_does_nothing(node: Namespace) -> None:
    expected = converge([target(node, overlay(2))], check=True)
    assert "flannel.1" not in ip("link")
    assert bring(node, overlay(2)) == expected


@pytest.mark.parametrize(
    "damage",
    [
        "ip link del flannel.1",
        "ip link set flannel.1 down",
        "ip link set eth0 down",
        "ip link set flannel.1 mtu 1400",
        "ip link set flannel.1 address 02:00:00:00:00:99",
        "ip addr del 10.244.11.0/32 dev flannel.1",
        "ip addr add 10.244.11.9/32 dev flannel.1",
        "ip neigh del 10.244.2.0 dev flannel.1",
        "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
        "ip neigh add 10.244.9.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
        "bridge fdb del 66:00:00:00:00:02 dev flannel.1 dst 172.30.0.2",
        "bridge fdb replace 66:00:00:00:00:02 dev flannel.1 dst 172.30.0.3",
        "bridge fdb append 66:00:00:00:00:99 dev flannel.1 dst 172.30.0.9",
        "ip route del 10.244.2.0/24",
        "ip route replace 10.244.2.0/24 via 10.244.3.0 dev flannel.1 onlink proto 112",
        "ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink",
        "ip route add 10.244.9.0/24 via 172.30.0.9 dev eth0 proto 112",
        "ip route append 10.244.2.0/24 via 10.244.9.0 dev flannel.1 onlink proto 112",
        "sysctl -qw net.ipv4.ip_forward=0",
        "nft delete table inet podwire",
    ],
)
def test_damage_is_mended(node: Namespace, damage: str) -> None:
    desired = overlay(2, 3)
    bring(node, desired)
    subprocess.run(damage.split(), check=True)
    if "eth0 down" in damage:
        subprocess.run(("ip", "link", "set", "eth0", "up"), check=True)
        return assert_shows(node, desired)  # VXLAN survives its parent's flap (measured): nothing to mend
    assert bring(node, desired).changed, "the damage did nothing"
    assert_shows(node, desired)
    assert not bring(node, desired).changed


@pytest.mark.parametrize("before", [overlay(2, 3, 4), overlay(2, vni=7), overlay(2, 3, hops=True)])
def test_what_is_no_longer_wanted_goes(node: Namespace, before: State) -> None:
    bring(node, before)
    bring(node, overlay(2))
    assert_shows(node, overlay(2))
    assert "flannel.7" not in ip("link")
    assert ip("route", "show", "proto", "112").split()[:3] == ["10.244.2.0/24", "via", "10.244.2.0"]
    assert ip("nexthop") == ""


def test_a_foreign_route_is_a_conflict_and_stays(node: Namespace) -> None:
    ip("route", "add", "10.244.2.0/24", "via", "172.30.0.254", "dev", "eth0", "metric", "50")
    ip("route", "add", "10.99.0.0/24", "via", "172.30.0.254", "dev", "eth0")
    with pytest.raises(ConflictError) as error:
        bring(node, overlay(2))
    assert str(error.value) == (
        "failed to converge node: a route that podwire does not own stands on a wanted prefix: "
        "route 10.244.2.0/24 via 172.30.0.254 dev eth0 metric 50 proto 3 "
        "(remove it, or declare other cluster_cidrs)"
    )
    assert "flannel.1" not in ip("link")
    ip("route", "del", "10.244.2.0/24", "metric", "50")
    bring(node, overlay(2))
    bring(node, EMPTY._replace(links=frozenset()))
    assert "10.99.0.0/24" in ip("route")


class FailAt:
    """Executes steps one by one and fails instead of the n-th."""

    def __init__(self, position: int) -> None:
        self.position = position

    def __call__(self, steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        for number, step in enumerate(steps):
            if number == self.position:
                raise KernelError("failed on purpose", 5)
            execute([step], namespaces)
        raise PodwireError("no step was left to fail")


CHANGES = {
    "from nothing": (EMPTY, overlay(2, 3)),
    "to nothing": (overlay(2, 3), EMPTY),
    "a peer's address": (overlay(2, 3), overlay(2, 4)),
    "another vni": (overlay(2, 3), overlay(2, 3, vni=2)),
    "next-hop objects": (overlay(2, 3), overlay(2, 3, hops=True)),
    "mtu": (overlay(2, 3), overlay(2, 3, mtu=1400)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_failing_at_any_position_leaves_everything_as_it_was(node: Namespace, change: str) -> None:
    before, after = CHANGES[change]
    bring(node, before)
    whole = Scope(links=frozenset(("flannel.1", "flannel.2")), protocol=112, nat="podwire")
    shown = show(node, whole).state
    assert bool(list(shown.objects())) == (before != EMPTY)
    count = len(converge([target(node, after)], check=True).operations)
    assert count > 0
    for position in range(count):
        with pytest.raises(KernelError, match="on purpose"):
            converge([target(node, after)], execute=FailAt(position))
        assert set(map(str, show(node, whole).state.objects())) == set(map(str, shown.objects())), position
    bring(node, after)
    assert_shows(node, after)


def test_ctrl_c_goes_back_too(node: Namespace) -> None:
    def interrupted(steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        execute(steps[: len(steps) // 2], namespaces)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converge([target(node, overlay(2, 3))], execute=interrupted)
    assert "flannel.1" not in ip("link")


def test_a_kernel_that_says_yes_and_does_nothing_is_caught(node: Namespace) -> None:
    bring(node, overlay(2))
    with pytest.raises(VerificationError, match=r"still lacks: \+ neighbour 10\.244\.3\.0"):
        converge([target(node, overlay(2, 3))], execute=lambda steps, namespaces: None)
    assert_shows(node, overlay(2))


def test_two_namespaces_come_up_together_or_not_at_all(
    node: Namespace, make_namespace: Callable[[str], Namespace]
) -> None:
    pod = make_namespace("pod")
    inside = State(
        links=frozenset([Link("eth0", "veth", 1450)]),
        addresses=frozenset([Address("eth0", IPv4Interface("10.244.11.2/24"))]),
    )
    near = Link("veth1", "veth", 1450, peer=VethPeer("pod", "eth0"))
    outside = State(links=frozenset([near]))
    scope = scope_of(inside, protocol=None)
    bad = inside._replace(routes=frozenset([Route(IPv4Network("0.0.0.0/0"), IPv4Address("192.0.2.1"), "eth0")]))
    targets = [Target(node, outside, scope_of(outside, protocol=None)), Target(pod, bad, scope)]
    with pytest.raises(KernelError, match="on pod: Network is unreachable"):
        converge(targets)
    assert "veth1" not in ip("link")
    targets[1] = Target(pod, inside, scope)
    assert converge(targets).changed
    assert not converge(targets).changed


def test_a_bridge_that_was_removed_comes_back(node: Namespace) -> None:
    """Also where the kernel has no VLAN filtering: it says that this is off, and refuses to have it set."""
    bridge = State(links=frozenset([Link("br0", "bridge", 1400)]))
    converge([Target(node, bridge, scope_of(bridge))])

    def fails(steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        execute(steps, namespaces)
        raise KernelError("refused", 22)

    with pytest.raises(KernelError, match="^refused$"):
        converge([Target(node, EMPTY, scope_of(bridge))], execute=fails)
    assert "mtu 1400" in ip("link", "show", "br0")


def test_an_address_that_went_with_its_device_is_gone(node: Namespace) -> None:
    """Asked for the addresses of a device that is not there, the kernel answers with an error."""
    old = State(
        links=frozenset([Link("br0", "bridge")]),
        addresses=frozenset([Address("br0", IPv4Interface("10.9.0.1/24"))]),
    )
    converge([Target(node, old, scope_of(old))])
    route = Route(IPv4Network("10.9.0.0/24"), IPv4Address("172.30.0.9"), "eth0")
    assert converge([Target(node, State(routes=frozenset([route])), scope_of(old))]).changed


def test_files_are_part_of_the_state(node: Namespace, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "flannel" / "subnet.env"
    desired = State(files=frozenset([File(str(path), "FLANNEL_MTU=1450\n", 0o600)]))
    assert bring(node, desired).changed
    assert path.read_text() == "FLANNEL_MTU=1450\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert [str(each) for _, each in bring(node, desired).operations] == [f"~ file {path} mode 0600"]
    assert [each.name for each in path.parent.iterdir()] == ["subnet.env"]
    converge([Target(node, EMPTY, Scope(files=frozenset([str(path)])))])
    assert not path.exists()


def test_a_vxlan_device_by_itself_that_forbids_fragments(node: Namespace) -> None:
    """Without a device below nothing bounds the MTU; that outer packets have DF is seen, and put right."""
    wrong = overlay(12)
    (link,) = wrong.links
    assert isinstance(link.settings, Vxlan)
    alone = link._replace(mtu=1500, settings=link.settings._replace(device="", df=True))
    bring(node, wrong._replace(links=frozenset([alone])))
    shown = subprocess.check_output(["ip", "-d", "link", "show", "flannel.1"], text=True)
    assert "mtu 1500" in shown and "df set" in shown and "dev eth0" not in shown
    assert "df True instead of False" in link.recreation(alone)
    assert bring(node, overlay(12)).changed
    assert "df" not in subprocess.check_output(["ip", "-d", "link", "show", "flannel.1"], text=True)


@pytest.mark.parametrize("first", [KeyboardInterrupt(), OSError(28, "No space left on device"), KernelError("no", 5)])
def test_a_rollback_that_fails_is_named_with_what_it_was_for(node: Namespace, first: BaseException) -> None:
    """The device of the earlier state stands below another one that an administrator made meanwhile."""
    bring(node, overlay(2))

    def fails(steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        ip("link", "del", "flannel.1")
        ip("link", "add", "other", "type", "vxlan", "id", "1", "dstport", "8472", "local", "172.30.0.11")
        raise first

    with pytest.raises(RollbackError, match="; and rolling back failed: failed to add link flannel.1") as failed:
        converge([target(node, overlay(2, 3))], execute=fails)
    assert failed.value.message.startswith({28: "[Errno 28]", 5: "no;"}.get(failed.value.errno, "interrupted;"))
    assert failed.value.__cause__ is first


def test_a_rollback_is_verified(node: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(node, overlay(2))

    def fails(steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        ip("route", "del", "10.244.2.0/24")
        raise KernelError("refused", 22)

    def idle(steps: Sequence[Step], namespaces: Mapping[str, Namespace]) -> None:
        """A kernel that accepts everything and does nothing."""

    monkeypatch.setattr("podwire.converge.kernel_execute", idle)
    with pytest.raises(RollbackError, match=r"^refused; .* failed: node still lacks: \+ route 10\.244\.2"):
        converge([target(node, overlay(2, 3))], execute=fails)
