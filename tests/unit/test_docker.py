"""What of docker nodes is a function of intent: networks and their digests, names, the image's tag; and their MACs."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podwire.errors import LabError
from podwire.intent import underlay
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.lab import networks
from podwire.lab.image import MADE_HERE, REPOSITORY, Image
from podwire.lab.networks import Network, refuse_collisions, wanted_networks

LAN = {"segments": {"lan": {"cidrs": ["172.29.0.0/29"]}}}


def cluster(*names: str, source: str = "/lab/hosts", **variables: Any) -> Cluster:
    hosts = names or ("node-1", "node-2")
    common = {"node_kind": "docker", "underlay": LAN}
    return read({name: {**common, **variables, **OWN.get(name, {})} for name in hosts}, source=source)


OWN = {"first": {"node_address": "172.29.0.1"}}


def test_a_network_a_segment_that_somebody_stands_on() -> None:
    two = {"segments": {"lan": {"cidrs": ["172.29.0.0/24"], "mtu": 1400}, "idle": {"cidrs": ["172.29.1.0/24"]}}}
    made = cluster(underlay=two)
    assert wanted_networks(made) == [
        Network(f"{made.id}-lan", "lan", (ip_network("172.29.0.0/24"),), (ip_address("172.29.0.1"),), 1400)
    ]


def test_docker_gets_the_first_address_that_no_node_has() -> None:
    wide = {"segments": {"lan": {"cidrs": ["172.29.0.0/24"]}}}
    assert wanted_networks(cluster("first", "node-2", underlay=wide))[0].gateways == (ip_address("172.29.0.2"),)
    assert wanted_networks(cluster("first", "node-2"))[0].gateways == (ip_address("172.29.0.6"),)


def test_no_address_left_for_docker() -> None:
    full = cluster(*(f"node-{number}" for number in range(6)))
    with pytest.raises(LabError, match="no address left for its bridge .set underlay.segments.lan.cidrs"):
        wanted_networks(full)


def test_a_digest_changes_with_whatever_cannot_be_changed_in_place() -> None:
    here = wanted_networks(cluster())[0]
    assert here.digest == wanted_networks(cluster("node-1"))[0].digest, "one more node would need a new network"
    for change in ({"mtu": 9000}, {"cidrs": (ip_network("172.29.0.0/28"),)}, {"gateways": (ip_address("172.29.0.5"),)}):
        assert here._replace(**change).digest != here.digest


def test_a_range_of_another_network_is_refused_with_the_variable_to_change() -> None:
    with pytest.raises(LabError, match="172.29.0.0/16 of the Docker network theirs .set underlay.segments.lan.cidrs"):
        refuse_collisions(wanted_networks(cluster()), {"theirs": [ip_network("172.29.0.0/16")]}, ())


def test_names_of_two_labs_differ() -> None:
    here, there = cluster(), cluster(source="/other/hosts")
    assert networks.container_name(here.id, "node-1") != networks.container_name(there.id, "node-1")


def test_the_tag_of_an_image_made_here_tells_what_is_in_it() -> None:
    assert MADE_HERE.tag.startswith(f"{REPOSITORY}:")
    assert Image(base="ubuntu:24.04").tag != MADE_HERE.tag
    assert Image(name="mine:1", base="ubuntu:24.04").tag == "mine:1"


def test_inside_a_node_macs_are_its_own_whoever_made_the_device() -> None:
    made = cluster()
    links = [link for state in underlay.inside(made).values() for link in state.links if link.name == "eth0"]
    assert len({link.mac for link in links}) == 2 and not any(link.alias for link in links)
    assert underlay.desired(made) == {}
