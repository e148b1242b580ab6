"""podwire cni-install: what it puts there, what it leaves alone, and that it works wherever it stands."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional, Set

import pytest

from podwire.cli import main
from podwire.cni.install import executables as installation
from podwire.cni.install.executables import NAMES, base_interpreter, install, look
from podwire.errors import ConflictError, PodwireError
from podwire.kernel.namespaces import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, mount, unshare

_MS_REMOUNT = 32
PYTHONS = [
    path
    for path in (
        base_interpreter(),
        "/usr/bin/python3",
        *(str(each) for each in Path.home().glob(".pyenv/versions/3.[0-9]*/bin/python3.[0-9]*")),
    )
    if re.search(r"python3(\.(9|1[0-9]))?$", path) and os.access(path, os.X_OK)
]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all plugins, not to be changed."""
    directory = tmp_path_factory.mktemp("installed") / "bin"
    install(str(directory))
    return directory


def call(
    program: str | Path, command: str = "VERSION", *, stdin: bytes = b"", cwd: str = "/", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """A plugin with nothing in its environment but CNI_*."""
    environment = {f"CNI_{key}": value for key, value in {"COMMAND": command, **variables}.items()}
    return subprocess.run([program], input=stdin, env=environment, cwd=cwd, capture_output=True)


def snapshot(directory: Path) -> Dict[str, object]:
    """Every file with inode, time of change and content."""
    return {
        str(path.relative_to(directory)): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


# --- executables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_plugin_answers_with_one_document(installed: Path, name: str) -> None:
    done = call(installed / name, stdin=b'{"cniVersion": "0.4.0"}')
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["cniVersion"] == "0.4.0"


def test_works_by_relative_path_and_in_any_directory(installed: Path, tmp_path: Path) -> None:
    relative = os.path.relpath(installed / "bridge", tmp_path)
    assert call(relative, cwd=str(tmp_path)).returncode == 0
    assert call("./bridge", cwd=str(installed)).returncode == 0


def test_works_through_links(installed: Path, tmp_path: Path) -> None:
    os.symlink(installed / "bridge", tmp_path / "first")
    os.symlink("first", tmp_path / "second")
    assert call(tmp_path / "second").returncode == 0


def test_works_moved_elsewhere(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(installed, tmp_path / "moved")
    done = call(tmp_path / "moved" / "ptp")
    assert (done.returncode, done.stderr) == (0, b"")


def test_imports_nothing_from_working_directory_or_environment(installed: Path, tmp_path: Path) -> None:
    for name in ("os", "ipaddress", "_json", "podwire", "marshal"):
        (tmp_path / f"{name}.py").write_text("print('not mine')\n")
    done = subprocess.run(
        [installed / "host-local"],
        env={"CNI_COMMAND": "VERSION", "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "os.py")},
        cwd=tmp_path,
        capture_output=True,
    )
    assert json.loads(done.stdout)["supportedVersions"]


def test_writes_nothing_on_a_read_only_file_system(installed: Path) -> None:
    """From the bundle, and, as after an upgrade of Python, from the library."""
    child = os.fork()
    if child == 0:
        unshare(CLONE_NEWNS)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount(str(installed), str(installed), flags=MS_BIND)
        mount("none", str(installed), flags=MS_BIND | _MS_REMOUNT | MS_RDONLY)
        done = call(installed / "bridge")
        os._exit(0 if done.returncode == 0 and done.stderr == b"" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_falls_back_to_sources_after_an_upgrade_of_python(installed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    shutil.copytree(installed, directory)
    (bundle,) = directory.glob(".podwire/*/archive")
    bundle.write_bytes(b"3.8.0 (another Python)" + bundle.read_bytes())
    for compiled in directory.rglob("*.pyc"):
        compiled.unlink()
    before = snapshot(directory)
    done = call(directory / "bridge")
    assert (done.returncode, done.stderr) == (0, b"")
    assert snapshot(directory) == before


@pytest.mark.parametrize("python", PYTHONS)
def test_every_supported_python(python: str, tmp_path: Path) -> None:
    install(str(tmp_path), python=python)
    assert (tmp_path / "bridge").read_text().startswith(f"#!{python} -ISB\n")
    for name in NAMES:
        done = call(tmp_path / name)
        assert (done.returncode, done.stderr) == (0, b"")


def test_starts_without_what_costs(installed: Path) -> None:
    """The modules whose import costs as much as Python's own start."""
    said = subprocess.run(
        [base_interpreter(), "-ISB", "-X", "importtime", installed / "bridge"],
        env={"CNI_COMMAND": "VERSION"},
        capture_output=True,
        text=True,
    ).stderr
    found = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    heavy = {"re", "json", "socket", "typing", "enum", "ctypes", "dataclasses", "collections", "functools"}
    assert not found & {*heavy, "contextlib", "hashlib", "_hashlib", "subprocess", "tempfile", "inspect"}
    assert not [name for name in found if name.startswith("podwire")], "all of podwire comes in one piece"


def test_a_broken_library_is_one_error_document(installed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    shutil.copytree(installed, directory)
    (bundle,) = directory.glob(".podwire/*/archive")
    bundle.write_bytes(sys.version.encode() + b"rubbish")
    done = call(directory / "bridge")
    assert done.returncode == 1 and b"Traceback" in done.stderr
    assert json.loads(done.stdout)["code"] == 100
    bundle.unlink()
    done = call(directory / "bridge")
    assert done.returncode == 1 and json.loads(done.stdout)["code"] == 100


# --- installing ------------------------------------------------------------------------------------


def test_a_second_installation_changes_nothing(tmp_path: Path) -> None:
    assert {entry.state for entry in install(str(tmp_path))} == {"new"}
    before = snapshot(tmp_path)
    assert {entry.state for entry in install(str(tmp_path))} == {"unchanged"}
    assert snapshot(tmp_path) == before


def test_looking_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    assert [os.path.basename(entry.path) for entry in look(str(directory))] == list(NAMES)
    assert not directory.exists()


def test_a_foreign_plugin_stays_and_nothing_is_installed(tmp_path: Path) -> None:
    (tmp_path / "bridge").write_bytes(b"\x7fELF")
    (tmp_path / "macvlan").write_bytes(b"\x7fELF")
    with pytest.raises(ConflictError, match=re.escape(f"not podwire's own: {tmp_path}/bridge")):
        install(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["bridge", "macvlan"]
    states = {entry.path: entry.state for entry in install(str(tmp_path), force=True)}
    assert states[f"{tmp_path}/bridge"] == "foreign"
    assert call(tmp_path / "bridge").returncode == 0
    assert (tmp_path / "macvlan").read_bytes() == b"\x7fELF"


def test_a_dangling_link_is_somebody_elses(tmp_path: Path) -> None:
    os.symlink("/nowhere", tmp_path / "bridge")
    with pytest.raises(ConflictError):
        install(str(tmp_path))


def test_an_older_installation_is_replaced_and_goes_one_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = installation.launcher.TEXT
    versions: List[str] = []
    for number in range(3):
        monkeypatch.setattr(installation.launcher, "TEXT", text + f"# version {number}\n")
        states = {entry.state for entry in install(str(tmp_path))}
        assert states == {"replaced" if number else "new"}
        (new,) = set(_versions(tmp_path)) - set(versions)
        versions.append(new)
        assert call(tmp_path / "bridge").returncode == 0
    assert _versions(tmp_path) == sorted(versions[1:]), "processes may still run on the one before"


def _versions(directory: Path) -> List[str]:
    return sorted(path.name for path in directory.glob(".podwire/" + "?" * 16))


class Interrupted(BaseException):
    """Stands for the power switch: nothing in podwire catches it."""


def test_interrupted_anywhere_every_plugin_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation over an older one stops at its first, second, third ... rename."""
    text = installation.launcher.TEXT
    install(str(tmp_path))
    rename = os.rename
    for stop in range(len(NAMES) + 2):
        monkeypatch.setattr(installation.launcher, "TEXT", text + f"# version {stop}\n")
        done = 0

        def failing(old: str, new: str) -> None:
            nonlocal done
            if done == stop:  # noqa: B023
                raise Interrupted
            done += 1
            rename(old, new)

        with monkeypatch.context() as context:
            context.setattr(os, "rename", failing)
            try:
                install(str(tmp_path))
            except Interrupted:
                assert stop <= len(NAMES)
        for name in NAMES:
            assert call(tmp_path / name).returncode == 0, f"{name} after {stop} renames"
    assert not list(tmp_path.glob(".podwire/new-*"))


def test_two_at_once(tmp_path: Path) -> None:
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                install(str(tmp_path))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len(_versions(tmp_path)) == 1
    assert {entry.state for entry in look(str(tmp_path))} == {"unchanged"}


@pytest.mark.parametrize("python", ["python3", "/usr/bin/python 3", "/nowhere/python3", "/bin/sh"])
def test_refuses_what_is_no_interpreter(tmp_path: Path, python: str) -> None:
    with pytest.raises(PodwireError, match="failed to use"):
        install(str(tmp_path), python=python)
    assert not os.listdir(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(tmp_path / "bin")
    assert main(["cni-install", directory, "--list"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["new"] * len(NAMES)
    assert main(["cni-install", directory]) == 0
    assert main(["cni-install", directory]) == 0
    assert f"nothing to do in {directory}" in capsys.readouterr().out
    Path(directory, "bridge").write_text("mine")
    assert main(["cni-install", directory]) == 1
    assert f"not podwire's own: {directory}/bridge" in capsys.readouterr().err
    assert main(["cni-install", directory, "--force"]) == 0


def test_a_directory_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["cni-install", str(tmp_path / "file" / "bin")]) == 1
    assert "failed to install CNI plugins" in capsys.readouterr().err


# --- the standard library's modules in the bundle ----------------------------------------------------


_ARCHIVE = """
import marshal, os, posix, sys, types
library = sys.argv[1]
archive = posix.open(library + "/archive", posix.O_CLOEXEC)
start, index, packs = marshal.loads(posix.pread(archive, 1 << 15, 0).split(b"\\0", 1)[1])
plugin = ""
sys.modules["podwire.cni.install.launch"] = types.SimpleNamespace(launch=len)
"""
_COMPARE = (
    _ARCHIVE
    + """
import ipaddress as real
del sys.modules["ipaddress"], sys.modules["functools"]
exec(start)
import ipaddress as lean
assert "functools" not in sys.modules
values = ["10.0.0.0", "10.0.0.1", "255.255.255.255", "::", "fd00::1", "fe80::1%eth0"]
networks = ["10.0.0.0/8", "10.0.0.0/24", "10.1.0.0/16", "::/0", "fd00::/64", "0.0.0.0/0"]
def every(module):
    found = []
    for make, texts in ((module.ip_address, values), (module.ip_network, networks)):
        objects = [make(text) for text in texts]
        for a in objects:
            for name in ("is_private", "is_global", "is_multicast", "is_loopback", "broadcast_address", "hostmask"):
                found.append((str(a), name, str(getattr(a, name, None))))
            for b in objects:
                for operator in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__"):
                    answer = getattr(a, operator)
                    try:
                        found.append((str(a), operator, str(b), str(answer(b))))
                    except TypeError as error:
                        found.append((str(a), operator, str(b), str(error)))
    return found
assert lean.ip_network("10.0.0.0/8")
assert {name for name in vars(lean) if "v6" in name} == {"v6_int_to_packed"}
assert every(real) == every(lean)
for name in vars(real):
    assert hasattr(lean, name) or name == "functools" or name[:2] == "__", name
print(len(every(lean)))
"""
)


def test_the_archives_ipaddress_is_ipaddress(installed: Path) -> None:
    (archive,) = installed.glob(".podwire/*/archive")
    done = subprocess.run([base_interpreter(), "-IS", "-c", _COMPARE, archive.parent], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 300


def test_the_library_has_what_plugins_need_and_no_more(installed: Path) -> None:
    (library,) = installed.glob(".podwire/*/podwire")
    packages: Optional[List[str]] = sorted(path.name for path in library.iterdir() if path.is_dir())
    needed = ["cni", "ipam", "kernel", "model"]
    assert packages == needed or packages == ["__pycache__", *needed]


_EACH = """
import importlib
for each in sys.argv[2:]:
    name, _, defined = each.partition(":")
    child = posix.fork()
    if child == 0:
        READY
        module = importlib.import_module(name)
        print(name, *(f"{key}:{type(getattr(module, key)).__name__}" for key in defined.split(",") if key))
        sys.stdout.flush()
        os._exit(0)
    assert posix.waitpid(child, 0)[1] == 0, name
"""
_FROM_ARCHIVE = _ARCHIVE + _EACH.replace("READY", "exec(start)")
_FROM_SOURCES = "import os, posix, sys" + _EACH.replace("READY", "sys.path.insert(0, sys.argv[1])")


_NOT_ARCHIVED = ("launch", "startup_os", "linker", "preload", "prelink", "standard")


def _defined(text: str) -> Set[str]:
    """What a module's source defines for others, but for types and protocols, which only mypy looks at."""
    found: Set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and "Protocol" in (getattr(base, "id", "") for base in node.bases):
            continue
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Subscript):
            found |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    return {each for each in found if each[:2] != "__"} - {"Plugin", "Executable"}


def test_modules_from_the_archive_are_those_of_the_sources(installed: Path) -> None:
    """Each the first one of a process: whichever is asked for first, it has everything that it needs."""
    (archive,) = installed.glob(".podwire/*/archive")
    library = archive.parent
    asked = []
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[-1] not in _NOT_ARCHIVED:
            asked.append(f"{name}:{','.join(sorted(_defined(path.read_text())))}")
    found = []
    for text in (_FROM_ARCHIVE, _FROM_SOURCES):
        command = [base_interpreter(), "-ISB", "-c", text, str(library), *asked]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(done.stdout.splitlines())
    assert found[0] == found[1]
    assert len(" ".join(found[0]).split()) > 500
