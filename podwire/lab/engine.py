"""The Docker engine of this machine, as far as one lab is concerned. Docker's own package is imported here, late."""

from __future__ import annotations

from contextlib import contextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

from ..errors import LabError
from ..intent.cluster import Node, Port
from ..model.objects import IPNetwork
from . import image as images
from .networks import Network, container_name, network_name

if TYPE_CHECKING:
    from docker import DockerClient

LAB, NODE, DIGEST = "podwire.lab", "podwire.node", "podwire.digest"
#: Never --privileged: these are what routes, VXLAN devices, namespaces of pods and raw sockets need.
_CAPABILITIES = ["NET_ADMIN", "SYS_ADMIN", "NET_RAW"]
#: Docker's own profiles refuse mount(2) and setns(2).
_SECURITY = ["seccomp=unconfined", "apparmor=unconfined"]
#: What ``docker run --security-opt systempaths=unconfined`` becomes: /proc/sys can be written to.
_SYSTEM_PATHS: Dict[str, List[str]] = {"MaskedPaths": [], "ReadonlyPaths": []}
#: Of a node with IPv6, which Docker switches off for all devices but its own. An address is of use at once, as in
#: nodes of kind netns (holder.py).
_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}
#: Seconds for one answer of the engine; building and pulling images stream theirs.
_TIMEOUT = 120


class Found(NamedTuple):
    """A container of the lab; ``pid`` is 0 while it does not run."""

    id: str
    name: str
    node: str
    digest: str
    pid: int


@contextmanager
def connect(cluster_id: str) -> Iterator[Engine]:
    """The engine that DOCKER_HOST names, or /var/run/docker.sock. LabError for whatever Docker refuses."""
    try:
        import docker
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ImportError as error:
        raise LabError(
            f"failed to find nodes of kind docker: the Python package docker is missing ({error})",
            "install it beside Ansible: .venv/bin/pip install docker",
        ) from error
    try:
        client = docker.from_env(timeout=_TIMEOUT)  # asks for the API's version
    except (DockerException, RequestException) as error:
        hint = "start it (systemctl start docker), or name its socket in DOCKER_HOST"
        raise LabError(f"failed to reach the Docker engine: {error}", hint) from error
    try:
        if not client.api.base_url.startswith("http+docker:"):
            cause = f"{client.api.base_url} is another machine, and podwire enters containers by their processes"
            raise LabError(f"failed to use the Docker engine: {cause}", "run podwire there, with DOCKER_HOST unset")
        yield Engine(client, cluster_id)
    except DockerException as error:
        raise LabError(f"failed to build lab {cluster_id}: {getattr(error, 'explanation', None) or error}") from error
    except RequestException as error:
        raise LabError(f"failed to talk to the Docker engine: {error}") from error
    finally:
        client.close()


class Engine:
    """What one lab has on the engine."""

    def __init__(self, client: DockerClient, cluster_id: str) -> None:
        self._client = client
        self._cluster_id = cluster_id

    @property
    def _mine(self) -> Dict[str, str]:
        """The filter for what carries the lab's label; anew each time, as Docker's package writes into it."""
        return {"label": f"{LAB}={self._cluster_id}"}

    def containers(self) -> List[Found]:
        """The lab's containers, whether or not they run."""
        containers = []
        for container in self._client.containers.list(all=True, filters=self._mine, ignore_removed=True):
            labels = container.labels
            pid = int(container.attrs["State"]["Pid"]) if container.status == "running" else 0
            containers.append(Found(container.id, container.name, labels.get(NODE, ""), labels.get(DIGEST, ""), pid))
        return containers

    def networks(self) -> Dict[str, str]:
        """The lab's networks: digests by name."""
        listed = self._client.networks.list(filters=self._mine)
        return {network.name: network.attrs["Labels"].get(DIGEST, "") for network in listed}

    def bridges(self) -> Set[str]:
        """The devices of the lab's networks, as Docker names them."""
        return {f"br-{network.id[:12]}" for network in self._client.networks.list(filters=self._mine)}

    def foreign_subnets(self) -> Dict[str, List[IPNetwork]]:
        """The subnets of everybody's networks but the lab's own, by name."""
        subnets: Dict[str, List[IPNetwork]] = {}
        for network in self._client.networks.list():
            if (network.attrs.get("Labels") or {}).get(LAB) != self._cluster_id:
                pools = (network.attrs.get("IPAM") or {}).get("Config") or []
                subnets[network.name] = [ip_network(pool["Subnet"], strict=False) for pool in pools if "Subnet" in pool]
        return subnets

    def image(self, wanted: images.Image) -> Any:
        """The image's id, or None."""
        return images.find(self._client, wanted)

    def make_image(self, wanted: images.Image, tell: Callable[[str], None]) -> Tuple[str, str]:
        """The image's id, and how it was made."""
        return images.make(self._client, wanted, tell)

    def make_network(self, network: Network) -> None:
        """A bridge of the segment's addresses and MTU."""
        from docker.types import IPAMConfig, IPAMPool

        pools = [
            IPAMPool(subnet=str(cidr), gateway=str(gateway)) for cidr, gateway in zip(network.cidrs, network.gateways)
        ]
        self._client.networks.create(
            network.name,
            driver="bridge",
            options={
                "com.docker.network.driver.mtu": str(network.mtu),
                "com.docker.network.bridge.enable_icc": "true",
            },
            ipam=IPAMConfig(pool_configs=pools),
            enable_ipv6=any(cidr.version == 6 for cidr in network.cidrs),
            labels={LAB: self._cluster_id, DIGEST: network.digest},
        )

    def make_node(self, node: Node, image: str, digest: str) -> None:
        """Make a container and start it. Networks are connected in the order of the ports, which names the devices."""
        api = self._client.api
        first, *others = node.ports
        host = api.create_host_config(
            network_mode=network_name(self._cluster_id, first.segment),
            cap_add=_CAPABILITIES,
            security_opt=_SECURITY,
            sysctls=_SYSCTLS if node.address(6) else {},
            tmpfs={"/run": "mode=0755"},  # sandboxes and names of namespaces end with the container, as at a reboot
            init=False,
        )
        made = api.create_container(
            image,
            name=container_name(self._cluster_id, node.name),
            hostname=node.name,
            host_config={**host, **_SYSTEM_PATHS},
            networking_config=api.create_networking_config(
                {network_name(self._cluster_id, first.segment): self._endpoint(first)}
            ),
            labels={LAB: self._cluster_id, NODE: node.name, DIGEST: digest},
        )
        api.start(made["Id"])
        for port in others:
            addresses = _addresses(port)
            api.connect_container_to_network(made["Id"], network_name(self._cluster_id, port.segment), **addresses)

    def _endpoint(self, port: Port) -> Any:
        return self._client.api.create_endpoint_config(**_addresses(port))

    def start(self, container: str) -> None:
        """Start a container that stopped."""
        self._client.api.start(container)

    def remove(self, containers: Iterable[Found]) -> None:
        """Kill and remove containers, with what is anonymous and theirs; those that are gone are left out."""
        from docker.errors import NotFound

        for container in containers:
            try:
                self._client.api.remove_container(container.id, v=True, force=True)
            except NotFound:
                continue

    def remove_networks(self, names: Iterable[str]) -> None:
        """Remove networks; somebody else's containers on them are Docker's to refuse."""
        for name in names:
            for network in self._client.networks.list(names=[name], filters=self._mine):
                network.remove()


def _addresses(port: Port) -> Dict[str, str]:
    return {f"ipv{address.version}_address": str(address.ip) for address in port.addresses}
