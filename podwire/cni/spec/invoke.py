"""Executing plugins: the search path, the environment, and what they answer (CNI spec 1.1.0, sections 2 and 4).

On the way of every plugin that delegates, so it imports nothing that costs (see ``podwire.startup_typing``).
"""

from __future__ import annotations

import errno
import os
import stat

from ...errors import CNI_DECODING_FAILURE, CNI_INVALID_NETWORK_CONFIG, CNI_IO_FAILURE, CNI_TRY_AGAIN_LATER, CniError
from ...files import write_all
from ...jsontext import loads
from ...startup_typing import TYPE_CHECKING
from .netconf import Attachment

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence

#: What a launcher of podwire's has in its first 4 KiB.
MARK = b"podwire"
#: execve(2) refuses a file that somebody writes, such as an installer: so often, so many seconds apart.
_BUSY_TRIES = 6
_BUSY_PAUSE = 0.25
#: As in the module signal, whose import costs: what Python ignores, and children would too.
_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25


def search_path(text: str) -> List[str]:
    """The directories of a CNI_PATH."""
    return [each for each in text.split(os.pathsep) if each]


def find(kind: str, directories: Sequence[str]) -> Optional[str]:
    """The executable of a plugin; None if no directory has it.

    CniError 7 for a type that is a path: configuration does not choose what is executed, CNI_PATH does.
    """
    if not kind or "/" in kind or kind in (".", ".."):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid plugin type {kind!r}", "it is the name of a file")
    for directory in directories:
        path = os.path.join(directory, kind)
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                return path
        except (OSError, ValueError):  # ValueError: a name that no file can have
            continue
    return None


def is_ours(path: str) -> bool:
    """Whether an executable is one that ``podwire cni-install`` made: a script with podwire's mark."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        head = os.read(file, 4096)
    except OSError:
        return False
    finally:
        os.close(file)
    return head.startswith(b"#!") and MARK in head


def missing(kind: str, directories: Sequence[str]) -> CniError:
    """The error for a plugin that is nowhere."""
    return CniError(
        CNI_INVALID_NETWORK_CONFIG,
        f'failed to find plugin "{kind}" in path {list(directories)}',
        "install it, or name its directory in CNI_PATH",
    )


def environment(
    command: str, attachment: Optional[Attachment], directories: Sequence[str], arguments: str = ""
) -> Dict[str, str]:
    """The environment of a call: the caller's own with CNI_* as the command wants them. Without attachment: of
    GC, STATUS and VERSION."""
    given = {
        key: value for key, value in os.environ.items() if not key.startswith("CNI_") or key == "CNI_NETNS_OVERRIDE"
    }
    given.update(CNI_COMMAND=command, CNI_PATH=os.pathsep.join(directories))
    if attachment is not None:
        given.update(
            CNI_CONTAINERID=attachment.container_id,
            CNI_NETNS=attachment.netns,
            CNI_IFNAME=attachment.ifname,
            CNI_ARGS=arguments,
        )
    given.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return given


def call(path: str, environ: Mapping[str, str], stdin: bytes, timeout: Optional[float] = None) -> bytes:
    """Execute a plugin; what it writes to stdout. Its stderr is passed on.

    CniError: the plugin's own if it ends with one; 5 if it cannot be executed or dies, 11 after ``timeout``
    seconds, when it is killed.
    """
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
    try:
        write_all(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        status = _run(path, environ, files, timeout)
        stdout, stderr = _content(files[1]), _content(files[2])
    finally:
        for file in files:
            os.close(file)
    if stderr:
        _pass_on(stderr)
    if status != 0:
        raise _error(path, status, stdout, stderr)
    return stdout


def _run(path: str, environ: Mapping[str, str], files: Sequence[int], timeout: Optional[float]) -> int:
    pid = _spawn(path, environ, files)
    try:
        if timeout is not None and not _ends(pid, timeout):
            raise CniError(
                CNI_TRY_AGAIN_LATER, f"plugin {path} did not end within {timeout:g} s", "it was killed; see its stderr"
            )
        status = os.waitpid(pid, 0)[1]
        pid = 0
    finally:
        if pid:  # the time is over, or Ctrl-C: its delegates are of its group
            os.killpg(pid, _SIGKILL)
            os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _spawn(path: str, environ: Mapping[str, str], files: Sequence[int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
    for left in reversed(range(_BUSY_TRIES)):
        try:
            return os.posix_spawn(
                path, [path], environ, file_actions=actions, setpgroup=0, setsigdef=[_SIGPIPE, _SIGXFSZ]
            )
        except OSError as error:
            if error.errno != errno.ETXTBSY or not left:
                hint = "is it executable, and for this machine?"
                raise CniError(CNI_IO_FAILURE, f"failed to execute {path}: {error.strerror}", hint) from error
        except ValueError as error:  # a NUL byte
            raise CniError(CNI_IO_FAILURE, f"failed to execute {path}: {error}") from error
        import time

        time.sleep(_BUSY_PAUSE)  # nothing tells when the writer has closed it
    raise AssertionError


def _ends(pid: int, timeout: float) -> bool:
    import select

    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def _error(path: str, status: int, stdout: bytes, stderr: bytes) -> CniError:
    """What a plugin that failed says, as libcni reads it (pkg/invoke/raw_exec.go, pluginErr)."""
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    if not stdout.strip():
        said = stderr.decode(errors="replace").strip()
        return CniError(CNI_IO_FAILURE, f"plugin {path} {how}" + (f": {said}" if said else " and said nothing"))
    try:
        data = loads(stdout.decode())
        code, message, details = data.get("code", 0), data["msg"], data.get("details")
        return CniError(int(code), str(message), None if details is None else str(details))
    except (ValueError, KeyError, TypeError, AttributeError):
        said = stdout.decode(errors="replace").strip()
        return CniError(CNI_DECODING_FAILURE, f"plugin {path} {how} without a JSON error: {said[:500]!r}")


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _pass_on(stderr: bytes) -> None:
    try:
        write_all(2, stderr)
    except OSError:  # nobody listens
        return
