"""docs/scenarios are true: their commands are run on a copy of their inventory, and have to print what the pages say.

A page's examples are indented blocks. A line that begins with ``$`` is a command, what follows is its output; ``…``
stands for anything, on a line or for any number of lines. A command that fails has to be shown to fail.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

import pytest

from podwire.intent.ids import cluster_id
from podwire.lab import netns

from ..e2e.playbooks import COMMAND, ROOT, environment

PAGES = sorted((ROOT / "docs" / "scenarios").glob("*/README.md"))
#: The default run follows these; the others are followed with ``-m drill``.
SAMPLE = {"missed-node"}
_PLAYBOOK = " ".join(map(str, COMMAND))
_PODWIRE = f'{sys.executable} -c "import sys; from podwire.cli import main; sys.exit(main())"'


class Step(NamedTuple):
    """A command, and the lines that it has to print."""

    command: str
    output: List[str]


def steps(page: str) -> Iterator[Step]:
    """The commands of a page in order."""
    found: List[Step] = []
    for block in re.findall(r"(?m)(?:^    .*\n)+", page):
        for line in (line[4:] for line in block.splitlines()):
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            else:
                found[-1].output.append(line)
    return iter(found)


def matches(wanted: List[str], printed: str) -> str:
    """The first wanted line that was not printed where it should be; "" if all were."""
    lines = [line for line in printed.splitlines() if line.strip()]
    at, loose = 0, False
    for line in wanted:
        if line == "…":
            loose = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r" ?… ?", line)).replace(r"\ \ ", r"\ +"))
        here = range(at, len(lines)) if loose else range(at, min(at + 1, len(lines)))
        hit = next((number for number in here if pattern.search(lines[number])), None)
        if hit is None:
            return line
        at, loose = hit + 1, False
    return "" if loose or at == len(lines) else f"nothing after line {at}, and not {lines[at]!r}"


def may_fail(step: Step) -> bool:
    """Whether what a page shows of a command says that it failed."""
    return bool(re.search(r"(?m)^(curl|ls|podwire): |^FAILED |has room for", "\n".join(step.output)))


def translated(command: str, name: str, copy: Path) -> str:
    """A command as it runs here: on the copy, with this interpreter's Ansible and podwire."""
    command = command.replace(f"docs/scenarios/{name}", str(copy))
    command = command.replace(".venv/bin/podwire", _PODWIRE)
    return re.sub(r"^\./run (\w+)", rf"{_PLAYBOOK} playbooks/\1.yml", command)


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tuple[str, Path]]:
    """A scenario's name, and a copy of its inventory whose lab is removed at the end."""
    name = request.param.parent.name
    folder = tmp_path / name
    shutil.copytree(request.param.parent, folder)
    yield name, folder
    netns.absent(cluster_id(str(folder)))


@pytest.mark.parametrize(
    "copy",
    [pytest.param(p, id=p.parent.name, marks=() if p.parent.name in SAMPLE else pytest.mark.drill) for p in PAGES],
    indirect=True,
)
def test_scenario(copy: Tuple[str, Path], tmp_path: Path) -> None:
    missing = [tool for tool in ("curl", "ip", "bridge", "nft") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; apt-get install curl iproute2 nftables")
    name, folder = copy
    scratch = tmp_path / "ansible"
    scratch.mkdir()
    for step in steps((ROOT / "docs" / "scenarios" / name / "README.md").read_text()):
        done = subprocess.run(
            translated(step.command, name, folder),
            shell=True,
            cwd=ROOT,
            env=environment(scratch),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        missing = matches(step.output, done.stdout)
        assert not missing, f"$ {step.command}\nlacks: {missing}\nprinted:\n{done.stdout}"
        assert may_fail(step) or done.returncode == 0, f"$ {step.command}\nfailed:\n{done.stdout}"


@pytest.mark.parametrize(
    "shown, may",
    [
        ([], False),
        (["…"], False),
        (["…", "ok      pods reach each other", "…"], False),
        (["curl: …"], True),
        (["…", "FAILED  pods reach each other …"], True),
        (["podwire: configuration version '0.1.0' …"], True),
    ],
)
def test_only_what_is_shown_to_fail_may_fail(shown: List[str], may: bool) -> None:
    assert may_fail(Step("true", shown)) is may


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_page_has_every_step(page: Path) -> None:
    """In the order in which a person takes them."""
    text = page.read_text()
    playbooks = [step.command.split()[1] for step in steps(text) if step.command.startswith("./run ")]
    order = [verb for verb in ("site", "break", "explain", "mend", "reset") if verb in playbooks]
    assert order == ["site", "break", "explain", "mend", "reset"]
    assert [playbooks.index(verb) for verb in order] == sorted(playbooks.index(verb) for verb in order)
    assert playbooks[-1] == "reset"
    assert all(f"**{word}" in text for word in ("Build", "Look", "Break", "Explain", "Repair", "Reset"))
    used = [step.command for step in steps(text) if "-i docs/scenarios/" in step.command]
    assert all(f"-i docs/scenarios/{page.parent.name}" in command for command in used)


def test_there_are_seven() -> None:
    assert len(PAGES) == 7
    listing = (ROOT / "docs" / "scenarios" / "README.md").read_text()
    assert all(f"({page.parent.name}/README.md)" in listing for page in PAGES)


@pytest.mark.parametrize(
    "wanted, printed, lacks",
    [
        (["a"], "a\n", ""),
        (["a"], "a\nb\n", "nothing after line 1, and not 'b'"),
        (["a", "…", "d"], "a\nb\nc\nd\n", ""),
        (["…", "x", "…"], "a\nb\n", "x"),
        (["12 … of 14"], "12 pods of 14\n", ""),
        (["ok  3 of 3"], "ok      3 of 3\n", ""),
        (["b", "a"], "a\nb\n", "b"),
    ],
)
def test_the_reader_of_pages(wanted: List[str], printed: str, lacks: str) -> None:
    assert matches(wanted, printed) == lacks
