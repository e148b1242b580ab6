"""What an ADD needs: lists, plugins, leases. No pair need suffer yet."""

from __future__ import annotations

import json
from collections import Counter
from typing import Iterator, List, Tuple

from ...model.command import Command, command, write_file
from ..cause import Cause
from ..evidence import NodeView, World
from ..titles import cause, quiet

_CONF_DIR = "/etc/cni/net.d"
#: Podwire's own plugins on nodes of others, where no runtime looks.
_STAND_IN = "/opt/podwire/cni"
#: Where Debian's package has the reference plugins.
_DEBIAN = "/usr/lib/cni/"
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
    expected = node.told.get("list") or _as_others(world, node)
    if not expected:
        return
    path, content = expected
    mine = next((each for each in lists if f"{_CONF_DIR}/{each['file']}" == path), None)
    again = write_file(path, content)
    if mine is None:
        found = [f"found: {', '.join(each['file'] for each in lists) or 'nothing'} in {_CONF_DIR}"]
        yield quiet(
            "cni_conf_missing", f"file {path}", node.name, "list", [f"expected: {path}", *found], again, "./run site"
        )
        return
    if "error" in mine:
        evidence = ["expected: a network configuration list", f"found: {mine['error']}"]
        yield quiet("cni_conf_malformed", f"file {path}", node.name, "list", evidence, again, "./run site")
    elif mine["version"] is None:
        evidence = ["expected: a cniVersion", "found: none, which counts as 0.1.0"]
        yield quiet("cni_version_missing", f"file {path}", node.name, "list", evidence, again, "./run site")
    elif mine["version"] not in _VERSIONS:
        evidence = [f"expected: one of {', '.join(_VERSIONS[2:])}", f"found: {mine['version']}"]
        yield quiet("cni_version_unsupported", f"file {path}", node.name, "list", evidence, again, "./run site")
    for each in lists:
        if each["file"] < mine["file"]:
            first = f"{_CONF_DIR}/{each['file']}"
            evidence = [
                f"expected: {mine['file']} is the first list",
                f"found: {each['file']}, of network {each['name']!r}",
            ]
            fix = [command("rm {}", first)]
            yield quiet("cni_conf_shadowed", f"file {first}", node.name, f"list {first}", evidence, fix)


def _as_others(world: World, node: NodeView) -> List[str]:
    """Where nobody declared a list: the one that most nodes read first, with this node's blocks for theirs."""
    first = {
        each.name: each.snapshot["conflists"][0]
        for each in world.nodes.values()
        if each.snapshot["conflists"] and each.snapshot["conflists"][0]["plugins"]
    }
    if not first.keys() - {node.name}:
        return []
    file = Counter(each["file"] for each in first.values()).most_common(1)[0][0]
    other = next((name for name, each in first.items() if each["file"] == file and name != node.name), node.name)
    model = first[other]
    head = {"cniVersion": model["version"], "name": model["name"]}
    data = {**head, **({"plugins": model["plugins"]} if file.endswith(".conflist") else model["plugins"][0])}
    text = json.dumps({key: value for key, value in data.items() if value is not None}, indent=2) + "\n"
    for theirs, own in zip(world.blocks(other), world.blocks(node.name)):
        text = text.replace(str(theirs), str(own))
    return [f"{_CONF_DIR}/{file}", text]


def _plugins(world: World, node: NodeView) -> Iterator[Cause]:
    for kind, (path, mode) in node.told["plugins"].items():
        if not mode:
            path, fix, more = _missing(world, node, kind, path)
            evidence = [f"expected: {path}, which the list names", "found: no such file", *more]
            name, verb = f"plugin {path}", "podwire cni-install"
            yield quiet("cni_binary_missing", name, node.name, name, evidence, fix, verb)
        elif not int(mode, 8) & 0o111:
            evidence = ["expected: mode 0755", f"found: {mode}"]
            name, fix = f"plugin {path}", [command("chmod 755 {}", path)]
            yield quiet("cni_binary_not_executable", name, node.name, name, evidence, fix)


def _missing(world: World, node: NodeView, kind: str, path: str) -> Tuple[str, List[Command], List[str]]:
    """Where a plugin should be, what puts it there, and who has it.

    Plugins of others are not replaced: what is missing becomes a link to podwire's of the same name, which reads the
    same list; where there is no podwire, it comes from the package or from another node.
    """
    podwire = node.told["podwire"]
    if not world.cluster.discovered:
        install = command("cni-install --force {}", path.rpartition("/")[0]).words
        return path, [Command((*podwire, *install))] if podwire else [], []
    rows = [(each, *each.told["plugins"].get(kind, ("", ""))) for each in world.nodes.values()]
    having = [(peer, at) for peer, at, mode in rows if mode]
    places = [at for _, at in having] or [at for at, mode in node.told["plugins"].values() if mode] or [path]
    path = f"{Counter(at.rpartition('/')[0] for at in places).most_common(1)[0][0]}/{kind}"
    if podwire:
        fix = [Command((*podwire, "cni-install", _STAND_IN)), command("ln -s {}/{} {}", _STAND_IN, kind, path)]
    elif path.startswith(_DEBIAN):
        fix = [command("apt-get install --reinstall -y containernetworking-plugins")]
    else:
        sources = [(peer.node.public_ips[0], at) for peer, at in having if peer.node.public_ips]
        fix = [command("scp {}:{} {}", *sources[0], path)] if sources else []
    return path, fix, [f"{peer.name} has {at}" for peer, at in having][:1]


def _lease(world: World, node: NodeView) -> Iterator[Cause]:
    for row in node.planned("File"):
        path = row["object"].split()[1]
        if not path.endswith("subnet.env"):
            continue
        keys = frozenset({node.key(row)})
        subnet = node.snapshot["subnet_env"].get("FLANNEL_SUBNET", "")
        id = "subnet_env_stale" if subnet else "subnet_env_missing"
        block = world.blocks(node.name)[0]
        whose = world.block_of(subnet) if subnet else None
        told = [f"{subnet} is of the block of {whose.name}"] if whose and whose.name != node.name else []
        yield cause(
            id, f"file {path}", node.name, keys=keys,
            evidence=[f"expected: FLANNEL_SUBNET={block[1]}/{block.prefixlen}",
                      f"found: {f'FLANNEL_SUBNET={subnet}' if subnet else 'no such file'}", *told],
            fix=node.steps([row]), verb="./run site", quiet=True,
        )  # fmt: skip
