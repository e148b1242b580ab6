"""Runs inside a node, in its own process: calls ``skel.main`` for each line of JSON on stdin, and tells what changed.

A request is {plugin, environ, stdin (latin-1)}. With ``kill`` the call is killed at that line of podwire's code (0:
count them); with ``kill_after`` it is the executable that runs, and is killed after that many seconds. An answer is
{status, stdout, lines, state}, where ``state`` has all that a plugin could have changed: devices, addresses, routes,
rules, sysctls and files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List

from podwire.cni import skel
from podwire.cni.spec.registry import PLUGINS
from tests.death import Death

_WATCHED = ("/var/lib/cni", "/run", "/etc/cni")
_TABLES = ("/proc/net/if_inet6", "/proc/net/ipv6_route", "/proc/net/fib_trie")
_SYSCTLS = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/route_localnet")


def files() -> Dict[str, str]:
    """Every file that there is, with a digest of its content."""
    found = {}
    for top in _WATCHED:
        for folder, folders, names in os.walk(top):
            for name in (*folders, *names):
                path = os.path.join(folder, name)
                found[path] = "a directory" if name in folders else _digest(path)
    return found


def _digest(path: str) -> str:
    if os.path.islink(path):
        return os.readlink(path)
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return str(error.strerror)


def state() -> Dict[str, Any]:
    """All that a plugin could have changed, here and in the container."""
    found: Dict[str, Any] = {"files": files()}
    with open("/proc/net/dev", encoding="ascii") as file:
        found["devices"] = sorted(line.split(":")[0].strip() for line in file if ":" in line)
    for path in (*_TABLES, *(f"/proc/sys/net/{each}" for each in _SYSCTLS)):
        with open(path, encoding="ascii") as file:
            lines = [line for line in file if not line.startswith(("fe80", "ff0"))]  # come and go with DAD
            found[path] = "".join(lines)
    found["rules"] = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    inside = subprocess.run(
        ["ip", "-n", "c", "-o", "addr", "show", "scope", "global"], capture_output=True, text=True
    ).stdout
    found["container"] = inside
    return found


def call(request: Dict[str, Any], output: int) -> None:
    """In a child: one call; what came of it goes to a pipe."""
    stdout = io.BytesIO()
    death = Death(request["kill"]) if request.get("kill") is not None else None
    os.environ.clear()
    os.environ.update(request["environ"])
    if death is not None:
        sys.settrace(death)
    status = skel.main(request["plugin"], os.environ, io.BytesIO(request["stdin"].encode("latin-1")), stdout)
    sys.settrace(None)
    answer = {"status": status, "stdout": stdout.getvalue().decode(), "lines": death.count if death else 0}
    with os.fdopen(output, "wb") as pipe:
        pipe.write(json.dumps(answer).encode())


def execute(request: Dict[str, Any]) -> Dict[str, Any]:
    """The executable, killed after a while if it still runs."""
    command = [f"/opt/cni/{request['plugin']}"]
    process = subprocess.Popen(
        command, env=request["environ"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        process.communicate(request["stdin"].encode("latin-1"), timeout=request["kill_after"])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return {"status": process.returncode, "stdout": "", "lines": 0, "state": state()}


def serve(request: Dict[str, Any]) -> Dict[str, Any]:
    """Fork for each call, as a runtime does."""
    if "kill_after" in request:
        return execute(request)
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        try:
            call(request, sending)
        except BaseException as error:  # a bug: skel.main raises nothing
            os.write(sending, json.dumps({"status": None, "stdout": repr(error), "lines": 0}).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    answer: Dict[str, Any] = json.loads(told) if told else {"status": -signal.SIGKILL, "stdout": "", "lines": 0}
    return {**answer, "state": state()}


def main(arguments: List[str]) -> None:
    """``worker.py``: requests until stdin ends."""
    os.chdir("/run/watched")
    for name, _, _ in PLUGINS.values():
        try:
            __import__(f"podwire.cni.plugins.{name}")
        except ImportError:
            continue
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
