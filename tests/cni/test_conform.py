"""The conformance suite, judged: by plugins whose faults are known, and by plugins that were broken on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Set, Tuple

import pytest

from podwire.cli import main
from podwire.conform import call
from podwire.conform.suite import conform
from podwire.errors import PodwireError

DEBIAN = Path("/usr/lib/cni")
#: Every plugin of Debian's containernetworking-plugins 1.1.1.
ALL = ("bridge", "ptp", "loopback", "host-local", "static", "portmap", "firewall", "tuning", "bandwidth")
_NEITHER = ("bridge", "ptp")

#: What is wrong with them. Each was looked at by hand: it is so.
KNOWN: Dict[str, Tuple[str, ...]] = {
    # The specification wants the cniVersion of the request, skel prints its newest.
    "version.echo": ALL,
    "version.current": ALL,
    "error.version": ALL,
    "env.order": ALL,
    # skel of that time does not compare namespaces: ADD configures the node itself.
    "env.netns.own": ("bridge", "ptp", "loopback"),
    # iptables is looked up in PATH.
    "env.bare": ("portmap", "firewall"),
    # loopback prints its 1.0.0 result under every version.
    "version.result.0.1.0": ("loopback",),
    "version.result.0.2.0": ("loopback",),
    "version.result.0.3.0": ("loopback",),
    "version.result.0.3.1": ("loopback",),
    "version.result.0.4.0": ("loopback",),
    # Duplicate address detection: ptp waits for it, bridge answers before it is over.
    "add.dual": _NEITHER,
    # No rollback, and the next ADD meets what is left.
    "add.failed.early": ("bridge",),
    "add.failed.late": _NEITHER,
    "add.failed.retry.early": ("bridge",),
    "add.failed.retry.late": _NEITHER,
    "delegate.failed": _NEITHER,
    "delegate.garbage": _NEITHER,
    "check.tampered.bridge.veth": ("bridge",),
    "check.tampered.gateway": ("bridge",),
    # https://github.com/containernetworking/plugins/issues/756
    "reuse.node": ("bridge",),
    "reuse.peer": ("bridge",),
    "args.ip": ("bridge",),
    "bridge.l2": ("bridge",),
    # https://github.com/containernetworking/plugins/issues/810
    "masquerade.gone.empty": _NEITHER,
    "masquerade.gone.gone": _NEITHER,
    "masquerade.check": _NEITHER,
    # Its chain is the container's, and the rules of both interfaces are in it.
    "masquerade.twice": ("bridge",),
    # https://github.com/containernetworking/plugins/issues/498
    "host-local.empty": ("host-local",),
    "ranges.invalid.code.tiny": ("host-local",),
    "ranges.invalid.code.host-bits": ("host-local",),
    "ranges.invalid.code.overlap": ("host-local",),
    # CHECK wants the rules of both families whatever addresses there are, and IPv4's in ip6tables.
    "check.ok": ("portmap",),
    "check.dual": ("portmap",),
    "version.check.0.4.0": ("portmap",),
    "version.check.1.0.0": ("portmap",),
    "portmap.invalid.large": ("portmap",),
    "portmap.invalid.protocol": ("portmap",),
    "portmap.invalid.hostip": ("portmap",),
    "firewall.invalid.backend": ("firewall",),
    "firewall.invalid.ingressPolicy": ("firewall",),
    "tuning.sysctl.ifname": ("tuning",),
    # The token bucket is left to whoever deletes the link, and CHECK does not look for it.
    "del.undone": ("bandwidth",),
    "check.deleted": ("bandwidth",),
    "bandwidth.ingress": ("bandwidth",),
    "bandwidth.check": ("bandwidth",),
    "bandwidth.none": ("bandwidth",),
}
#: Races of theirs, and what depends on the kernel: they may fail, and need not.
SOMETIMES: Dict[str, Tuple[str, ...]] = {
    "bridge.concurrent": ("bridge",),
    "add.concurrent": ALL,
    "del.killed": ALL,
}


class Ran(NamedTuple):
    status: int
    text: str
    report: Dict[str, Any]
    junit: ElementTree.Element

    def verdicts(self, verdict: str) -> Set[Tuple[str, str]]:
        """(plugin, case) of a verdict."""
        plugins = self.report["plugins"]
        return {(p["name"], c["id"]) for p in plugins for c in p["cases"] if c["verdict"] == verdict}


def run(directory: Path, files: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    report, junit = files / "conform.json", files / "conform.xml"
    status = main(["conform", str(directory), "--json", str(report), "--junit", str(junit), *arguments])
    return Ran(status, capsys.readouterr().out, json.loads(report.read_text()), ElementTree.parse(junit).getroot())


def machine() -> List[str]:
    """What the suite could leave behind on the machine itself."""
    commands = (
        ["ip", "-o", "link"],
        ["ip", "-o", "address"],
        ["nft", "list", "ruleset"],
        ["findmnt", "-rn", "-o", "TARGET"],
    )
    shown = [subprocess.run(command, capture_output=True, text=True, check=False).stdout for command in commands]
    return [
        *shown,
        *(repr(sorted(os.listdir(path))) for path in ("/run/netns", "/var/lib/cni", "/etc/cni") if os.path.isdir(path)),
    ]


@pytest.fixture
def debian() -> Path:
    if not (DEBIAN / "bridge").exists():
        pytest.skip("needs Debian's plugins: apt-get install containernetworking-plugins")
    return DEBIAN


def test_known_faults_of_debian(debian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It finds what is known to be wrong, and nothing else."""
    version = subprocess.run(
        [debian / "bridge"], env={"CNI_COMMAND": "VERSION"}, input="", capture_output=True, text=True, check=True
    )
    if "1.1.0" in version.stdout:
        pytest.skip("the known faults are those of version 1.1.1")
    ran = run(debian, tmp_path, capsys, "--plugin", *ALL)
    known = {(plugin, case) for case, plugins in KNOWN.items() for plugin in plugins}
    sometimes = {(plugin, case) for case, plugins in SOMETIMES.items() for plugin in plugins}
    skipped = ran.verdicts("skip")
    failed = ran.verdicts("fail")
    assert ran.verdicts("error") == set()
    assert failed - known - sometimes == set(), "surprises"
    assert known - failed - skipped == set(), "known faults that it did not find"
    assert len(ran.verdicts("pass")) > 1000
    assert ran.status == 1
    assert not ran.report["conforms"]


def test_reports_agree(debian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = machine()
    ran = run(debian, tmp_path, capsys, "--plugin", "static", "--case", "version", "gc.quiet")
    (plugin,) = ran.report["plugins"]
    (suite,) = ran.junit
    count = plugin["summary"]
    assert ran.report["schema"] == 1
    assert int(suite.attrib["tests"]) == len(plugin["cases"]) == count["pass"] + count["fail"] + count["skip"]
    assert int(suite.attrib["failures"]) == count["fail"] == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["skipped"]) == count["skip"] == len(suite.findall("testcase/skipped"))
    echo = next(case for case in plugin["cases"] if case["id"] == "version.echo")
    assert echo["verdict"] == "fail"
    assert echo["severity"] == "MUST"
    assert echo["expected"] == '"cniVersion": "0.4.0"'
    lines = ran.text.splitlines()
    assert sum(line.startswith(("  pass ", "  skip ", "  FAIL ")) for line in lines) == len(plugin["cases"])
    assert "  skip  gc.quiet: needs CNI 1.1.0, the plugin announces up to 1.0.0" in lines
    assert machine() == before, "nothing is left on the machine"


#: (plugin, case that has to fail, what a script does before or instead of the real plugin)
BROKEN = [
    ("static", "add.result", "echo ready"),
    ("static", "error.stdout", 'real; echo "{}"; exit 1'),
    ("static", "env.missing.ADD", "export CNI_CONTAINERID=${CNI_CONTAINERID:-nobody}"),
    ("static", "env.command.unknown.FROB", '[ "$CNI_COMMAND" = FROB ] && kill -SEGV $$'),
    ("static", "version.result.0.4.0", '[ "$CNI_COMMAND" = ADD ] && real | sed s/0.4.0/0.3.1/ && exit 0'),
    ("static", "stdin.garbage.empty", "real >/dev/null; exit 1"),
    ("static", "del.netns.absent.unset", '[ "$CNI_COMMAND" = DEL ] && [ -z "$CNI_NETNS" ] && exit 1'),
    ("host-local", "del.clean", '[ "$CNI_COMMAND" = DEL ] && exit 0'),
    ("host-local", "del.others", '[ "$CNI_COMMAND" = DEL ] && rm -rf /var/lib/cni/networks'),
    ("host-local", "ranges.invalid.tiny", "mkdir -p /var/lib/cni/networks/x; : >/var/lib/cni/networks/x/10.0.0.1"),
    ("host-local", "host-local.check.gone", '[ "$CNI_COMMAND" = CHECK ] && exit 0'),
    ("host-local", "host-local.unique", "rm -rf /var/lib/cni/networks"),
    ("bridge", "check.tampered.address", '[ "$CNI_COMMAND" = CHECK ] && exit 0'),
    ("bridge", "add.up", '[ "$CNI_COMMAND" = ADD ] && real && nsenter --net="$CNI_NETNS" ip link del eth0; exit 0'),
    ("bridge", "check.ok", '[ "$CNI_COMMAND" = CHECK ] && exit 1'),
    (
        "bridge",
        "add.traffic.node",
        "real; nft 'add table ip t; add chain ip t c { type filter hook output priority 0; policy drop; }'; exit 0",
    ),
    ("bridge", "add.kernel", "real | sed 's|10.22.0.2/24|10.22.0.3/24|'; exit 0"),
    ("bridge", "env.netns.missing", '[ -e "$CNI_NETNS" ] || ip link add stray type bridge'),
    ("bridge", "delegate.call.ADD", "unset CNI_ARGS"),
    ("bridge", "masquerade.gone.present", '[ "$CNI_COMMAND" = DEL ] && exit 0'),
    ("portmap", "add.prevresult.kept", "real | sed s/conform.test/other.test/; exit 0"),
    ("portmap", "portmap.outside.4", "real | cat; nft flush ruleset; exit 0"),
    (
        "loopback",
        "loopback.up",
        '[ "$CNI_COMMAND" = ADD ] && real && nsenter --net="$CNI_NETNS" ip link set lo down; exit 0',
    ),
    ("firewall", "firewall.opens", "real; iptables -F CNI-FORWARD; exit 0"),
    ("tuning", "tuning.sysctl.set", '[ "$CNI_COMMAND" = ADD ] && cat | sed s/arp_filter/arp_ignore/ | real; exit 0'),
]


@pytest.mark.parametrize(("plugin", "case", "fault"), BROKEN, ids=[f"{plugin}-{case}" for plugin, case, _ in BROKEN])
def test_finds_a_fault(
    debian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], plugin: str, case: str, fault: str
) -> None:
    """A case passes on the real plugin, and fails when a script around it does one thing wrong."""
    for each in debian.iterdir():
        (tmp_path / each.name).symlink_to(each)
    good = run(tmp_path, tmp_path, capsys, "--plugin", plugin, "--case", case)
    assert good.verdicts("pass") == {(plugin, case)}
    assert good.status == 0
    (tmp_path / plugin).unlink()
    script = f"#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nreal() {{ {debian / plugin}; }}\n{fault}\nreal\n"
    (tmp_path / plugin).write_text(script)
    (tmp_path / plugin).chmod(0o755)
    bad = run(tmp_path, tmp_path, capsys, "--plugin", plugin, "--case", case)
    assert bad.verdicts("fail") == {(plugin, case)}, bad.text


@pytest.mark.parametrize("last", ["exec sleep", "echo; sleep"])
def test_a_plugin_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    monkeypatch.setattr(call, "TIMEOUT_S", 0.2)
    (tmp_path / "static").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{last} 4{os.getpid()}\n")
    (tmp_path / "static").chmod(0o755)
    assert conform(str(tmp_path), only=["env"]) == 1
    text = capsys.readouterr().out
    assert text.count("seen:     it still ran and was killed") >= 3
    assert "skip  env.version.only: the plugin hung in 3 cases already" in text
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if f"4{os.getpid()}" in _command(path)]
    assert left == []


def _command(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def test_an_unknown_plugin_by_its_configuration(
    debian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "wire").symlink_to(debian / "ptp")
    (plugins / "host-local").symlink_to(debian / "host-local")
    config = {"type": "wire", "ipam": {"type": "host-local", "subnet": "10.22.0.0/24"}}
    (tmp_path / "wire.json").write_text(json.dumps(config))
    ran = run(
        plugins,
        tmp_path,
        capsys,
        "--config",
        str(tmp_path / "wire.json"),
        "--case",
        "add.kernel",
        "delegate.call",
        "del.clean",
    )
    assert ran.status == 0
    passed = {"add.kernel", "delegate.call.ADD", "delegate.call.DEL", "delegate.call.CHECK", "del.clean"}
    assert ran.verdicts("pass") == {("wire", case) for case in passed}


def test_list_runs_nothing(debian: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", str(debian), "--plugin", "loopback", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("loopback.up ") and "MUST" in line for line in lines)
    assert len({line.split()[0] for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere"], "there is no such directory"),
        (["/etc"], "failed to find plugins in /etc"),
        (["/usr/bin", "--plugin", "env"], "--config FILE"),
        (["/usr/bin", "--plugin", "no-such-plugin"], "no executable no-such-plugin"),
    ],
)
def test_errors_say_what_to_do(arguments: List[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_ids_are_unique_and_documented() -> None:
    from podwire.conform import cases
    from podwire.conform.case import CASES, KINDS, SEVERITIES

    assert cases
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
    for case in CASES:
        assert case.severity in SEVERITIES
        assert set(case.kinds) <= set(KINDS)
        assert case.title and case.section
    with pytest.raises(PodwireError):
        conform("/usr/bin", only=["no.such.case"])


def test_our_own_plugins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They keep to every case, whatever its severity."""
    plugins = tmp_path / "plugins"
    assert main(["cni-install", str(plugins)]) == 0
    capsys.readouterr()
    ran = run(plugins, tmp_path, capsys)
    assert ran.verdicts("error") == set()
    assert ran.verdicts("fail") == set(), ran.text
    assert ran.status == 0
