"""The image that docker nodes run: found by a digest of what goes into it, or made.

It is built from the Dockerfile beside this file on any base of Debian or Ubuntu. Where no registry has the base,
mmdebstrap makes a root file system of this machine's own distribution, and Docker imports that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Optional, Tuple

from ..errors import LabError

if TYPE_CHECKING:
    from docker import DockerClient

BASE = "debian:12-slim"
REPOSITORY = "podwire-node"
_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
#: What a node never reads, and what takes long to unpack.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


class Image(NamedTuple):
    """What nodes shall run: a ready image by its name, else one on ``base`` (see Dockerfile)."""

    name: str = ""
    base: str = BASE

    @property
    def tag(self) -> str:
        """Name and tag; the tag of an image that is made here changes with whatever goes into it."""
        return self.name or f"{REPOSITORY}:{hashlib.sha256(f'{self.base} {_dockerfile()}'.encode()).hexdigest()[:12]}"


MADE_HERE = Image()


def find(client: DockerClient, wanted: Image) -> Optional[str]:
    """The image's id; None if the engine does not have it."""
    from docker.errors import ImageNotFound

    try:
        return str(client.images.get(wanted.tag).id)
    except ImageNotFound:
        return None


def make(client: DockerClient, wanted: Image, tell: Callable[[str], None]) -> Tuple[str, str]:
    """Pull or make it: its id, and how, in words for people; ``tell`` is called before. LabError where it cannot be."""
    from docker.errors import DockerException

    if wanted.name:
        tell(f"pulling image {wanted.name}")
        try:
            return str(client.images.pull(wanted.name).id), "pulled"
        except DockerException as error:
            hint = "check lab_image, or leave it out and an image is made"
            raise LabError(f"failed to pull image {wanted.name}: {error}", hint) from error
    cause = _pull_base(client, wanted.base)
    if not cause:
        tell(f"building image {wanted.tag} on {wanted.base}")
        return _build(client, wanted), f"built on {wanted.base}"
    if not shutil.which("mmdebstrap"):
        raise LabError(
            f"failed to make the node image: {wanted.base} is not to be had ({cause}), and there is no mmdebstrap",
            "apt-get install mmdebstrap, or name a ready image in lab_image",
        )
    distribution, suite, mirror = _own_distribution()
    how = f"{distribution} {suite} by mmdebstrap, because {wanted.base} is not to be had: {cause}"
    tell(f"making image {wanted.tag}: {how}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        archive = os.path.join(folder, "root.tar")
        _bootstrap(suite, mirror, archive)
        try:
            changes = [f"ENTRYPOINT {json.dumps(_entrypoint())}"]
            client.api.import_image_from_file(archive, *wanted.tag.split(":"), changes=changes)
        except DockerException as error:
            raise LabError(f"failed to import the node image: {error}") from error
    return str(client.images.get(wanted.tag).id), how


def _pull_base(client: DockerClient, base: str) -> str:
    """Have the base here; returns why not, or nothing."""
    from docker.errors import DockerException, ImageNotFound
    from requests.exceptions import RequestException

    try:
        client.images.get(base)
    except ImageNotFound:
        try:
            client.images.pull(base)
        except (DockerException, RequestException) as error:
            return str(getattr(error, "explanation", None) or error)
    return ""


def _build(client: DockerClient, wanted: Image) -> str:
    from docker.errors import BuildError, DockerException

    try:
        # The machine's own network: apt needs nothing but that, and the engine may have no other.
        built, _ = client.images.build(
            path=_DIRECTORY, tag=wanted.tag, buildargs={"BASE": wanted.base}, network_mode="host", rm=True
        )
    except BuildError as error:
        lines = [line for line in (str(entry.get("stream", "")).strip() for entry in error.build_log) if line]
        raise LabError(f"failed to build the node image on {wanted.base}: {error}: {' / '.join(lines[-3:])}") from error
    except DockerException as error:
        raise LabError(f"failed to build the node image on {wanted.base}: {error}") from error
    return str(built.id)


def _own_distribution() -> Tuple[str, str, str]:
    """This machine's distribution, its suite, and a line of sources.list(5) that apt itself has it from."""
    with open("/etc/os-release", encoding="utf-8") as file:
        release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', file.read(), re.MULTILINE))
    distribution, suite = release.get("NAME", "this distribution"), release.get("VERSION_CODENAME", "")
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    targets = [line for line in lines if len(line) == 3 and line[1] == suite]
    site = next((site for site, _, component in targets if component == "main"), None)
    if site is None:
        cause = f"apt has no sources of {distribution} {suite}".strip()
        raise LabError(f"failed to make the node image: {cause}", "name a ready image in lab_image")
    components = sorted({component for other, _, component in targets if other == site})
    return distribution, suite, f"deb {site.rstrip('/')} {suite} {' '.join(components)}"


def _bootstrap(suite: str, mirror: str, archive: str) -> None:
    command: List[str] = ["mmdebstrap", "--quiet", "--variant=apt", "--format=tar"]
    command += [f"--include={','.join(_packages())}", *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT)]
    done = subprocess.run([*command, suite, archive, mirror], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        last_lines = done.stderr.strip().splitlines()[-3:]
        raise LabError(f"failed to make the node image: mmdebstrap: {' / '.join(last_lines)}")


def _packages() -> List[str]:
    match = re.search(r'^ARG PACKAGES="(.*)"$', _dockerfile(), re.MULTILINE)
    assert match is not None
    return match[1].split()


def _entrypoint() -> Any:
    match = re.search(r"^ENTRYPOINT (.*)$", _dockerfile(), re.MULTILINE)
    assert match is not None
    return json.loads(match[1])


def _dockerfile() -> str:
    with open(os.path.join(_DIRECTORY, "Dockerfile"), encoding="utf-8") as file:
        return file.read()
