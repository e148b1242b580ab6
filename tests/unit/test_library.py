"""podwire's own way to a node: packed once, installed whole, at every moment and wherever an installation is killed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from podwire.errors import PodwireError
from podwire.stages import library
from tests.death import Death

OLD, NEW = "0" * 16, "1" * 16


def archive(folder: Path, version: str) -> str:
    """A library of two modules, which is enough to be installed."""
    path = folder / f"{version}.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("podwire/__init__.py", "")
        packed.writestr("podwire/which.py", f"VERSION = {version!r}\n")
    return str(path)


def says(home: Path) -> str:
    """What a process that starts now imports."""
    begin = "import os, sys; sys.path.insert(0, os.path.realpath(sys.argv[1]))"
    code = f"{begin}; from podwire.which import VERSION; print(VERSION)"
    done = subprocess.run([sys.executable, "-ISc", code, str(home / "lib")], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_archive_holds_what_the_digest_names(tmp_path: Path) -> None:
    path = library.pack(str(tmp_path))
    assert library.digest() in path
    made = os.stat(path).st_mtime_ns
    assert os.stat(library.pack(str(tmp_path))).st_mtime_ns == made
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
    assert {"podwire/__init__.py", "podwire/stages/node.py", "podwire/kernel/netlink/socket.py"} <= set(names)
    assert all(name.startswith("podwire/") and name.endswith(".py") for name in names)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a node gets, without anything else of the checkout."""
    folder = tmp_path_factory.mktemp("node")
    with zipfile.ZipFile(library.pack(str(folder))) as packed:
        packed.extractall(folder / "lib")
    return folder / "lib"


def on_a_node(unpacked: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a node's launcher does: with its own library alone."""
    begin = "import sys; sys.path.insert(0, sys.argv[1]); "
    command = [sys.executable, "-ISc", begin + code, str(unpacked)]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)


def modules(unpacked: Path) -> list[str]:
    paths = (path.relative_to(unpacked).with_suffix("") for path in unpacked.rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def test_products_of_their_own_are_not_installed_on_nodes(unpacked: Path) -> None:
    names = modules(unpacked)
    for absent in ("conform", "report", "intent.inventory", "lab", "stages.controller"):
        assert not [name for name in names if f"{name}.".startswith(f"podwire.{absent}.")], absent


def test_every_module_of_a_node_is_imported_from_its_library_alone(unpacked: Path) -> None:
    names = [name for name in modules(unpacked) if not name.startswith("podwire.cli")]
    assert {f"podwire.stages.{name}" for name in ("node", "facts", "faults", "preflight", "removal")} <= set(names)
    code = f"import importlib; [importlib.import_module(name) for name in {names}]; "
    code += (
        "assert all(found.__file__.startswith(sys.argv[1]) for name, found in sys.modules.items() if 'podwire' in name)"
    )
    done = on_a_node(unpacked, code)
    assert done.returncode == 0, done.stderr


def test_stages_import_within_functions_only_what_nodes_have(unpacked: Path) -> None:
    """An import within a function fails when the stage runs. Verbs of the command for the controller say so."""
    names = set(modules(unpacked))
    missing = set()
    for name in names:
        path = unpacked.joinpath(*name.split("."))
        package = name if path.is_dir() else name.rpartition(".")[0]
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = package.split(".")
                    base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
                if base.split(".")[0] == "podwire" and base not in names:
                    missing.add((name, base))
    assert {(name, base) for name, base in missing if not name.startswith("podwire.cli")} == set()
    assert missing, "the verbs of the controller"


@pytest.mark.parametrize("verb", ["conform /opt/cni/bin", "report", "inspect"])
def test_a_verb_of_the_controller_says_so_on_a_node(unpacked: Path, verb: str) -> None:
    done = on_a_node(unpacked, f"from podwire.cli import main; sys.exit(main({verb.split()}))")
    name = verb.split()[0]
    assert done.returncode == 1 and f"podwire: failed to run {name}: a node does not have it; " in done.stderr, (
        done.stderr
    )
    assert "Traceback" not in done.stderr


def test_the_verbs_of_a_node_run_from_its_library(unpacked: Path, tmp_path: Path) -> None:
    done = on_a_node(
        unpacked, f"from podwire.cli import main; sys.exit(main(['cni-install', '--list', {str(tmp_path)!r}]))"
    )
    assert done.returncode == 0 and "bridge" in done.stdout, done.stderr
    intent = tmp_path / "intent.json"
    done = on_a_node(
        unpacked, f"from podwire.cli import main; sys.exit(main(['apply', '--check', '--intent', {str(intent)!r}]))"
    )
    assert done.returncode == 1 and str(intent) in done.stderr and "a node does not have it" not in done.stderr


def test_another_library_replaces_it_whole(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for version in (OLD, NEW):
        library.install(archive(tmp_path, version), version, str(home))
        assert says(home) == version
    assert (home / NEW / "podwire" / "__pycache__").is_dir()
    assert (home / OLD).is_dir(), "what runs on it may import from it yet"
    third = "2" * 16
    library.install(archive(tmp_path, third), third, str(home))
    assert not (home / OLD).exists()


def test_a_kill_anywhere_leaves_one_that_works_and_the_next_run_finishes(tmp_path: Path) -> None:
    packed = archive(tmp_path, OLD), archive(tmp_path, NEW)
    lines = killed(tmp_path / "whole", packed, 0)
    assert lines > 30
    for at in range(1, lines + 1, 3):
        home = tmp_path / str(at)
        assert killed(home, packed, at) == 0
        assert says(home) in (OLD, NEW)
        library.install(packed[1], NEW, str(home))
        assert says(home) == NEW
        assert sorted(os.listdir(home)) in ([OLD, NEW, "lib", "lock"], [NEW, "lib", "lock"])


def killed(home: Path, packed: tuple[str, str], at: int) -> int:
    """Install the second one over the first, and die at a line. Returns the lines that it takes if it lives."""
    library.install(packed[0], OLD, str(home))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        death = Death(at)
        sys.settrace(death)
        library.install(packed[1], NEW, str(home))
        sys.settrace(None)
        os.write(write_end, str(death.count).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told or b"0")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(PodwireError, match=r"failed to (install podwire in|lock) .*home"):
        library.install(archive(tmp_path, NEW), NEW, str(tmp_path / "home"))
