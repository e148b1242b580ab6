"""What an ADD needs: network configuration lists, plugins, flannel's lease file. No pair need fail yet."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import ip_interface
from typing import Iterator, List, Optional, Tuple

from ...model.command import Command, command, write_file
from ...model.objects import File
from ...observe.records import Conflist
from ..cause import Cause
from ..evidence import World
from ..operations import fix
from ..titles import cause, quiet
from ..views import NodeView

_CONF_DIR = "/etc/cni/net.d"
#: Podwire's own plugins on nodes of others, where no runtime looks.
_STAND_IN = "/opt/podwire/cni"
#: Where Debian's package has the reference plugins.
_DEBIAN = "/usr/lib/cni/"
_SITE = "./run site"
#: Versions of the specification that there have been.
_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        if world.pods_of(node.name):
            yield from _lists(world, node)
        yield from _plugins(world, node)
        yield from _lease(world, node)


def _lists(world: World, node: NodeView) -> Iterator[Cause]:
    lists = node.snapshot["conflists"]
    expected = node.evidence.get("list") or _as_others(world, node)
    if not expected:
        return
    path, content = expected
    current = next((conflist for conflist in lists if f"{_CONF_DIR}/{conflist['file']}" == path), None)
    if current is None:
        names = ", ".join(conflist["file"] for conflist in lists) or "nothing"
        wrong: Optional[Tuple[str, str, str]] = "cni_conf_missing", path, f"{names} in {_CONF_DIR}"
    else:
        wrong = _wrong(current)
    if wrong is not None:
        id, wanted, found = wrong
        evidence = [f"expected: {wanted}", f"found: {found}"]
        yield quiet(id, f"file {path}", node.name, "list", evidence, write_file(path, content), _SITE)
    for conflist in lists:
        if current is not None and conflist["file"] < current["file"]:
            first = f"{_CONF_DIR}/{conflist['file']}"
            evidence = [
                f"expected: {current['file']} is the first list",
                f"found: {conflist['file']}, of network {conflist['name']!r}",
            ]
            remove = [command("rm {}", first)]
            yield quiet("cni_conf_shadowed", f"file {first}", node.name, f"list {first}", evidence, remove)


def _wrong(conflist: Conflist) -> Optional[Tuple[str, str, str]]:
    """(id, expected, found) of a list that no runtime or plugin takes."""
    if "error" in conflist:
        return "cni_conf_malformed", "a network configuration list", conflist["error"]
    version = conflist.get("version")
    if version is None:
        return "cni_version_missing", "a cniVersion", "none, which counts as 0.1.0"
    if version not in _VERSIONS:
        return "cni_version_unsupported", f"one of {', '.join(_VERSIONS[2:])}", version
    return None


def _as_others(world: World, node: NodeView) -> List[str]:
    """[path, content] where nobody declared a list: the one that most nodes read first, with this node's pod CIDRs for
    theirs."""
    first = {
        name: other.snapshot["conflists"][0]
        for name, other in world.nodes.items()
        if other.snapshot["conflists"] and other.snapshot["conflists"][0]["plugins"]
    }
    if not first.keys() - {node.name}:
        return []
    file = Counter(conflist["file"] for conflist in first.values()).most_common(1)[0][0]
    same = (name for name, conflist in first.items() if conflist["file"] == file and name != node.name)
    other = next(same, node.name)
    model = first[other]
    content = {"plugins": model["plugins"]} if file.endswith(".conflist") else model["plugins"][0]
    data = {"cniVersion": model.get("version"), "name": model["name"], **(content if isinstance(content, dict) else {})}
    text = json.dumps({key: value for key, value in data.items() if value is not None}, indent=2) + "\n"
    for theirs, block in zip(world.blocks(other), world.blocks(node.name)):
        text = text.replace(str(theirs), str(block))
    return [f"{_CONF_DIR}/{file}", text]


def _plugins(world: World, node: NodeView) -> Iterator[Cause]:
    for kind, (path, mode) in node.evidence["plugins"].items():
        if not mode:
            path, steps, more = _missing(world, node, kind, path)
            evidence = [f"expected: {path}, which the list names", "found: no such file", *more]
            name, verb = f"plugin {path}", "podwire cni-install"
            yield quiet("cni_binary_missing", name, node.name, name, evidence, steps, verb)
        elif not int(mode, 8) & 0o111:
            evidence = ["expected: mode 0755", f"found: {mode}"]
            name, steps = f"plugin {path}", [command("chmod 755 {}", path)]
            yield quiet("cni_binary_not_executable", name, node.name, name, evidence, steps)


def _missing(world: World, node: NodeView, kind: str, path: str) -> Tuple[str, List[Command], List[str]]:
    """Where a plugin should be, what puts it there, and who has it.

    Plugins of others are not replaced: what is missing becomes a link to podwire's of the same name, which reads the
    same list; where there is no podwire, it comes from the package or from another node.
    """
    podwire = node.evidence["podwire"]
    if not world.cluster.discovered:
        install = command("cni-install --force {}", path.rpartition("/")[0]).words
        return path, [Command((*podwire, *install))] if podwire else [], []
    rows = [(peer, *peer.evidence["plugins"].get(kind, ("", ""))) for peer in world.nodes.values()]
    having = [(peer, at) for peer, at, mode in rows if mode]
    places = [at for _, at in having] or [at for at, mode in node.evidence["plugins"].values() if mode] or [path]
    path = f"{Counter(at.rpartition('/')[0] for at in places).most_common(1)[0][0]}/{kind}"
    if podwire:
        steps = [Command((*podwire, "cni-install", _STAND_IN)), command("ln -s {}/{} {}", _STAND_IN, kind, path)]
    elif path.startswith(_DEBIAN):
        steps = [command("apt-get install --reinstall -y containernetworking-plugins")]
    else:
        sources = [(peer.node.public_ips[0], at) for peer, at in having if peer.node.public_ips]
        steps = [command("scp {}:{} {}", *sources[0], path)] if sources else []
    return path, steps, [f"{peer.name} has {at}" for peer, at in having][:1]


def _lease(world: World, node: NodeView) -> Iterator[Cause]:
    """flannel's lease file."""
    for change in node.changes(File):
        path = change.object.path
        if not path.endswith("subnet.env"):
            continue
        subnet = node.snapshot["subnet_env"].get("FLANNEL_SUBNET", "")
        block = world.blocks(node.name)[0]
        yield cause(
            "subnet_env_stale" if subnet else "subnet_env_missing", f"file {path}", node.name,
            keys=frozenset({node.key(change)}),
            evidence=[f"expected: FLANNEL_SUBNET={block[1]}/{block.prefixlen}",
                      f"found: {f'FLANNEL_SUBNET={subnet}' if subnet else 'no such file'}",
                      *_owner(world, node, subnet)],
            fix=fix([change]), verb=_SITE, quiet=True,
        )  # fmt: skip


def _owner(world: World, node: NodeView, subnet: str) -> List[str]:
    try:
        owner = world.block_of(ip_interface(subnet).ip)
    except ValueError:
        return []
    return [f"{subnet} is of the pod CIDR of {owner.name}"] if owner and owner.name != node.name else []
