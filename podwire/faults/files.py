"""Files as resources: texts, and the executables of CNI plugins."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ..files import replace_file
from ..kernel.namespaces import mount, umount

if TYPE_CHECKING:
    from ..kernel import Namespace

PRESENT, MISSING, NOT_EXECUTABLE = "present", "missing", "not executable"
#: The nodes of a lab share their plugins, with each other and some with the machine: what one of them misses is
#: covered by an overlay of its own, and the file is never touched.
_LAYERS = "/run/podwire/faults"


class FileText(NamedTuple):
    """A file: ``{"text", "mode"}``. Bytes that are no UTF-8 survive."""

    path: str

    def read(self, namespace: Namespace) -> Any:
        try:
            with open(self.path, "rb") as file:
                text = file.read().decode(errors="surrogateescape")
                return {"text": text, "mode": os.fstat(file.fileno()).st_mode & 0o7777}
        except FileNotFoundError:
            return None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            return
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        replace_file(self.path, value["text"].encode(errors="surrogateescape"), value["mode"])

    def describe(self, value: Any) -> str:
        return f"file {self.path}: " + ("removed" if value is None else f"{len(value['text'])} bytes")

    def __str__(self) -> str:
        return f"file {self.path}"


class Plugin(NamedTuple):
    """A plugin's executable: ``present``, ``missing`` or ``not executable``."""

    path: str

    def read(self, namespace: Namespace) -> Any:
        try:
            return PRESENT if os.stat(self.path).st_mode & 0o111 else NOT_EXECUTABLE
        except FileNotFoundError:
            return MISSING

    def write(self, namespace: Namespace, value: Any) -> None:
        directory = os.path.dirname(self.path)
        if self._is_covered(directory):
            umount(directory)
        shutil.rmtree(self._layers, ignore_errors=True)
        if value != PRESENT:
            self._cover(directory, value)

    def describe(self, value: Any) -> str:
        return f"{self}: {value}"

    def __str__(self) -> str:
        return f"plugin {self.path}"

    @property
    def _layers(self) -> str:
        return f"{_LAYERS}/{os.path.basename(self.path)}"

    def _is_covered(self, directory: str) -> bool:
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            return any(line.split()[4] == directory and f"upperdir={self._layers}/" in line for line in file)

    def _cover(self, directory: str, value: str) -> None:
        upper, work = f"{self._layers}/upper", f"{self._layers}/work"
        os.makedirs(upper)
        os.makedirs(work)
        covered = f"{upper}/{os.path.basename(self.path)}"
        if value == MISSING:
            os.mknod(covered, 0o600 | 0o020000)  # a whiteout: device 0:0 (filesystems/overlayfs in the kernel's docs)
        else:
            with open(self.path, "rb") as file:
                replace_file(covered, file.read(), 0o644)
        mount("overlay", directory, "overlay", data=f"lowerdir={directory},upperdir={upper},workdir={work}")
