"""Together with the Go reference: one lease directory, two implementations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from podwire.errors import IpamError
from podwire.ipam.allocator import Allocator, Reservation
from podwire.ipam.ranges import make_range
from podwire.ipam.store import Claim

GO = "/usr/lib/cni"
SUBNET = "10.244.1.0/24"
pytestmark = pytest.mark.skipif(
    not os.path.exists(f"{GO}/host-local"), reason="needs Go's plugins: apt-get install containernetworking-plugins"
)


def host_local(command: str, container: str, data_dir: Path) -> subprocess.Popen[str]:
    conf = {
        "cniVersion": "1.0.0",
        "name": "net",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": SUBNET}]], "dataDir": str(data_dir)},
    }
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": "/nowhere",
        "CNI_PATH": GO,
    }
    process = subprocess.Popen(
        [f"{GO}/host-local"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(conf))
    process.stdin.close()
    process.stdin = None
    return process


def answer(process: subprocess.Popen[str]) -> Any:
    out = process.communicate()[0]
    assert process.returncode == 0, out
    return json.loads(out) if out else None


@pytest.fixture
def ours(tmp_path: Path) -> Allocator:
    return Allocator("net", ((make_range(ip_network(SUBNET)),),), str(tmp_path))


def test_each_goes_on_where_the_other_stopped_and_releases_the_others_leases(ours: Allocator, tmp_path: Path) -> None:
    assert answer(host_local("ADD", "go-1", tmp_path))["ips"][0]["address"] == "10.244.1.2/24"
    mine = ours.reserve([Claim("our-1", "eth0")])[Claim("our-1", "eth0")]
    assert isinstance(mine, Reservation) and str(mine.ips[0].address) == "10.244.1.3/24"
    assert answer(host_local("ADD", "go-2", tmp_path))["ips"][0]["address"] == "10.244.1.4/24"
    assert isinstance(ours.reserve([Claim("go-2", "eth0")])[Claim("go-2", "eth0")], IpamError)
    answer(host_local("CHECK", "our-1", tmp_path))
    answer(host_local("DEL", "our-1", tmp_path))
    released = ours.release([Claim("our-1", "eth0"), Claim("go-1", "eth0"), Claim("go-2", "eth0")])
    assert list(released.values()) == [(), (ip_address("10.244.1.2"),), (ip_address("10.244.1.4"),)]
    assert [each for each in os.listdir(tmp_path / "net") if each[0].isdigit()] == []
    assert answer(host_local("ADD", "go-3", tmp_path))["ips"][0]["address"] == "10.244.1.5/24"


def test_at_the_same_time_no_address_is_given_twice(tmp_path: Path) -> None:
    code = (
        "import sys; from ipaddress import ip_network; from podwire.ipam.allocator import Allocator, Claim\n"
        "from podwire.ipam.ranges import make_range\n"
        f"a = Allocator('net', ((make_range(ip_network('{SUBNET}')),),), sys.argv[1])\n"
        "for i in range(20): print(a.reserve([Claim(f'{sys.argv[2]}-{i}', 'eth0')]).popitem()[1].ips[0].address)\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"our{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    given = [answer(host_local("ADD", f"go-{n}", tmp_path))["ips"][0]["address"] for n in range(20)]
    for worker in workers:
        given += worker.communicate()[0].split()
        assert worker.returncode == 0
    assert len(given) == len(set(given)) == 80
    leases = [each for each in os.listdir(tmp_path / "net") if each[0].isdigit()]
    assert sorted(f"{each}/24" for each in leases) == sorted(given)
