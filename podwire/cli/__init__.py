"""The ``podwire`` command: look at a lab, run commands in it, test CNI plugins, make reports. Builds nothing;
playbooks do."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional, Sequence, Tuple

from ..errors import PodwireError

_EXAMPLES = """examples:
  podwire inspect                            nodes and pods of the default inventory
  podwire inspect --json -i inventories/racks
  podwire exec node-1 -- ip route            a command on a node
  podwire exec pod-a -- curl -s http://10.244.1.3:8080/
  podwire watch -- ./run site                packets lost between pods while a command runs
  podwire cni add mynet /run/netns/a         like cnitool, with the same environment variables
  podwire cni-install /opt/cni/bin           podwire's CNI plugins, for any runtime
  podwire apply --check                      on a node: show what differs from its stored intent
  podwire conform /opt/cni/bin               test CNI plugins against the specification
  podwire report -o public                   write the last run's report, e.g. for a CI
  podwire report --compare old.json new.json what broke, what was repaired
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one verb. Returns the exit status: of the command for ``exec`` and ``watch``, 1 for an error."""
    before, command = _split(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(before)
    try:
        if options.verb == "inspect":
            if command is not None:
                raise PodwireError("failed to inspect: it takes no command", "podwire exec runs commands")
            from .inspect import inspect

            inspect(options.inventory, as_json=options.json)
            return 0
        if options.verb == "cni":
            from .cni import cni

            if not options.netns and options.command in ("add", "check", "del"):
                parser.error(f"cni {options.command} needs NETNS, the path of a network namespace")
            return cni(options.command, options.network, options.netns, options.timeout)
        if options.verb == "cni-install":
            from .cni_install import cni_install

            cni_install(options.directory, python=options.python, force=options.force, listing=options.list)
            return 0
        if options.verb == "apply":
            from .apply import apply

            apply(check=options.check, watch=options.watch, intent=options.intent, node=options.node)
            return 0
        if options.verb == "conform":
            from ..conform.suite import conform

            return conform(
                options.directory,
                options.plugin,
                config=options.config,
                json_file=options.json,
                junit_file=options.junit,
                only=options.case,
                listing=options.list,
            )
        if options.verb == "report":
            from .report import compared, report

            if options.compare:
                return compared(*options.compare)
            return report(options.document, options.output, options.inventory)
        if options.verb == "watch":
            from .watch import run

            return run(options.inventory, command or options.command, options.longest)
        from .exec import execute

        return execute(options.name, command or options.command, options.inventory)
    except PodwireError as error:
        print("podwire: " + "; ".join(str(error).splitlines()), file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("podwire."):
            raise
        missing = f"failed to run {options.verb}: a node does not have it; run it on the controller"
        print(f"podwire: {missing}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 1


def _split(arguments: Sequence[str]) -> Tuple[List[str], Optional[List[str]]]:
    """The arguments before the first ``--``, and the command after it."""
    listed = list(arguments)
    if "--" not in listed:
        return listed, None
    at = listed.index("--")
    return listed[:at], listed[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="podwire",
        description="Inspect a lab built by site.yml, and run commands in its nodes and pods.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    inspect = verbs.add_parser("inspect", help="list nodes and pods", description="List nodes and pods.")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    _add_inventory(inspect, "default: $ANSIBLE_INVENTORY, or inventories/lab")
    execute = verbs.add_parser(
        "exec",
        help="run a command in a node or pod",
        usage="podwire exec [-i INVENTORY] NODE-or-POD -- COMMAND [ARGUMENT ...]",
        description="Run a command in a node or pod, with its streams and exit status; 'underlay' is a lab's switch.",
    )
    execute.add_argument("name", metavar="NODE-or-POD")
    execute.add_argument("command", metavar="COMMAND", nargs="*", help="what to run, after --")
    _add_inventory(execute, "default: the one running lab that has the name")
    watch = verbs.add_parser(
        "watch",
        help="ping between pods while a command runs",
        usage="podwire watch [-i INVENTORY] [--longest SECONDS] -- COMMAND [ARGUMENT ...]",
        description="Ping from node to node, pod to pod, while a command runs; print lost packets and the longest gap.",
    )
    watch.add_argument("command", metavar="COMMAND", nargs="*", help="what to run, after --")
    watch.add_argument("--longest", metavar="SECONDS", type=float, help="exit status 1 if a gap was longer")
    _add_inventory(watch, "default: $ANSIBLE_INVENTORY, or inventories/lab")
    _add_cni(verbs)
    _add_install(verbs)
    _add_apply(verbs)
    _add_conform(verbs)
    _add_report(verbs)
    return parser


def _add_cni(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cni = verbs.add_parser(
        "cni",
        help="attach a network namespace by CNI",
        description="Run a network's CNI plugins for a network namespace; a drop-in for cnitool.",
        epilog="environment: NETCONFPATH (default /etc/cni/net.d), CNI_PATH (default: podwire's own plugins), "
        "CNI_ARGS, CAP_ARGS (JSON), CNI_IFNAME (default eth0)",
    )
    cni.add_argument("command", choices=("add", "check", "del", "gc", "status"))
    cni.add_argument("network", metavar="NETWORK", help="the name in its configuration")
    cni.add_argument(
        "netns", metavar="NETNS", nargs="?", default="", help="path of the network namespace; gc and status need none"
    )
    cni.add_argument("--timeout", metavar="SECONDS", type=float, help="kill a plugin that takes longer")


def _add_install(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    install = verbs.add_parser(
        "cni-install",
        help="install CNI plugins",
        description="Install podwire's CNI plugins as executables, with their library beside them in DIR/.podwire. "
        "If a plugin of the same name is not podwire's, nothing is installed, unless --force is given.",
    )
    install.add_argument(
        "directory", metavar="DIR", nargs="?", default="/opt/cni/bin", help="where (default: %(default)s)"
    )
    install.add_argument("--list", action="store_true", help="show what would be installed; change nothing")
    install.add_argument("--force", action="store_true", help="also replace plugins that are not podwire's")
    install.add_argument(
        "--python", metavar="PATH", help="their Python interpreter, 3.9 or newer (default: the one that runs this)"
    )


def _add_apply(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    apply = verbs.add_parser(
        "apply",
        help="converge this node without a controller",
        description="Converge this node to the intent that site.yml stored in /etc/podwire: backend, pods' "
        "attachments, and podwire's own pods. Prints what changed; nothing if nothing did.",
    )
    apply.add_argument("--intent", metavar="FILE", default="", help="read the cluster's intent from this file")
    apply.add_argument(
        "--node", metavar="NAME", default="", help="with --intent: which node this is (default: as before)"
    )
    mode = apply.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="show what would change; change nothing")
    mode.add_argument(
        "--watch", action="store_true", help="keep running, and apply again when the kernel reports a change"
    )


def _add_conform(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    conform = verbs.add_parser(
        "conform",
        help="test CNI plugins",
        description="Test CNI plugins in throw-away namespaces. Exit status 0 if no MUST is broken.",
    )
    conform.add_argument("directory", metavar="DIR", help="where the plugins are, such as /opt/cni/bin")
    conform.add_argument(
        "--plugin", metavar="NAME", nargs="+", action="extend", default=[], help="only these (default: all known)"
    )
    conform.add_argument("--config", metavar="FILE", help="a plugin configuration, for a plugin unknown to the suite")
    conform.add_argument(
        "--case",
        metavar="ID",
        nargs="+",
        action="extend",
        default=[],
        help="only these cases, or cases whose ids begin with ID",
    )
    conform.add_argument("--json", metavar="FILE", help="write the results as JSON")
    conform.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    conform.add_argument("--list", action="store_true", help="list the cases; run none")


def _add_report(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = verbs.add_parser(
        "report",
        help="write a run's report again, or compare two",
        description="Write all report files from a results.json. With --compare: exit status 1 if something broke.",
    )
    report.add_argument("document", metavar="RESULTS.json", nargs="?", help="default: of the inventory's last run")
    report.add_argument("-o", "--output", metavar="DIR", help="where to write (default: next to the document)")
    report.add_argument(
        "--compare",
        metavar=("OLD.json", "NEW.json"),
        nargs=2,
        help="say what broke and what was repaired between two",
    )
    _add_inventory(report, "default: $ANSIBLE_INVENTORY, or inventories/lab")


def _add_inventory(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("-i", "--inventory", metavar="INVENTORY", help=default)
