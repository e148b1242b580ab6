"""A Docker engine for tests: the one that runs, or one of our own that leaves nothing behind.

``python -m tests.engine COMMAND...`` runs a command with DOCKER_HOST set, and says why where no engine can be had;
then the command runs without, and its tests skip for the same reason. Ours lives in a network and a mount namespace,
so that neither its bridges and firewall rules nor its mounts are this machine's, and is never reachable from outside.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

_DEADLINE = 60.0  # seconds for an engine to be ready, or to be gone


class NoEngine(Exception):
    """Why there is none."""


@contextmanager
def engine() -> Iterator[str]:
    """The value of DOCKER_HOST for an engine that answers. NoEngine if none can be had."""
    wanted = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if _answers(wanted):
        yield wanted
        return
    if os.geteuid() != 0:
        raise NoEngine("needs a Docker engine, or root to start one")
    missing = [name for name in ("dockerd", "iptables", "mmdebstrap") if not shutil.which(name)]
    if missing:
        raise NoEngine("needs a Docker engine: apt-get install docker.io iptables mmdebstrap")
    folder = Path(tempfile.mkdtemp(prefix="podwire-docker-", dir="/var/tmp"))
    try:
        with _started(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        import docker
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ImportError as error:
        raise NoEngine("needs the Python package docker") from error
    if url.startswith("unix:") and not os.path.exists(url.partition("://")[2]):
        return False
    try:
        docker.DockerClient(base_url=url).close()  # which asks for a version first
    except (DockerException, RequestException):
        return False
    return True


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    """dockerd says when it is ready as systemd wants to hear it, sd_notify(3)."""
    url = f"unix://{folder}/docker.sock"
    command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--net", "--mount", "dockerd", "-H", url]
    command += [
        "--pidfile",
        str(folder / "pid"),
        "--data-root",
        str(folder / "data"),
        "--exec-root",
        str(folder / "exec"),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(folder / "log", "wb") as log:
        ready.bind(str(folder / "ready"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "ready")}
        started = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        ended = os.pidfd_open(started.pid)
        try:
            readable = select.select([ready, ended], [], [], _DEADLINE)[0]
            if ready not in readable:
                words = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
                raise NoEngine(f"needs a Docker engine, and dockerd does not start here: {' '.join(words)}")
            yield url
        finally:
            started.send_signal(signal.SIGTERM)  # it ends its containers and its containerd
            if not select.select([ended], [], [], _DEADLINE)[0]:
                started.kill()
            started.wait()
            os.close(ended)


def main(command: list[str]) -> int:
    """Run a command with an engine, or without."""
    try:
        with engine() as url:
            return subprocess.run(command, env={**os.environ, "DOCKER_HOST": url}).returncode
    except NoEngine as error:
        print(f"podwire: no Docker here: {error}", file=sys.stderr)
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
