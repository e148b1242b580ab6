"""podwire's own way to a node: packed once, installed whole, at every moment and wherever an installation is killed."""

from __future__ import annotations

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
    assert {"podwire/__init__.py", "podwire/stages/node.py", "podwire/kernel/netlink/rtnetlink.py"} <= set(names)
    assert all(name.startswith("podwire/") and name.endswith(".py") for name in names)
    assert not {"conform", "lab", "report"} & {name.split("/")[1] for name in names}


def test_the_archive_is_all_that_a_node_needs(tmp_path: Path) -> None:
    with zipfile.ZipFile(library.pack(str(tmp_path))) as packed:
        packed.extractall(tmp_path / "lib")
    run = [sys.executable, "-ISc", "import sys; sys.path.insert(0, sys.argv.pop(1)); exec(sys.argv.pop(1))"]
    stages = [f"stages.{name}" for name in ("facts", "faults", "library", "node", "preflight", "removal")]
    imports = "; ".join(f"import podwire.{module}" for module in ("agent.watch", "cli.apply", *stages))
    subprocess.run([*run, str(tmp_path / "lib"), imports], check=True)
    main = "from podwire.cli import main; sys.exit(main())"
    done = subprocess.run(
        [*run, str(tmp_path / "lib"), main, "report", "x.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "podwire: failed to run report: nodes have only a part of podwire; run it on the controller\n"


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
