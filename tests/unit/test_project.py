"""The project keeps to its own rules: lint, types, layers, and documentation that says what the code does."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from podwire.stages.arguments import ARGUMENTS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "modules").glob("*.py"))
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())

pytestmark = pytest.mark.project


def run(*command: str, **environment: str) -> None:
    """Run a checker of this interpreter's environment; what it complains about is the failure."""
    tool = Path(sys.executable).with_name(command[0])
    if not tool.exists():
        pytest.skip(f"{command[0]} is not installed")
    # Checkers that call others (ansible-lint calls ansible-playbook) must find those beside them.
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(tool), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", "PYTHONPATH": str(ROOT), **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}", pytrace=False)


def test_ruff() -> None:
    run("ruff", "check", "--quiet", ".")


def test_format() -> None:
    run("ruff", "format", "--quiet", "--check", "--diff", ".")


def test_types() -> None:
    run("mypy")


def test_layers() -> None:
    run("lint-imports", "--no-cache")


#: What may speak to the kernel outside of kernel/, and why.
_SPEAKERS = {
    "conform": "the suite looks at nodes as other CNI tools do, with nothing of podwire's own readers",
    "boot.py": "stands below kernel/: the index of leases needs it when a plugin starts",
    "cni": "plugins build nf_tables rules out of kernel/nftables' expressions",
    "observe/namespace.py": "reads the kernel's tables for snapshots",
}
_OF_THE_KERNEL = re.compile(r"setns|unshare|CLONE_\w+|entered|ctypes|AF_NETLINK|NetlinkSocket|RTM_\w+")
_FILES_OF_THE_KERNEL = ("/proc/sys/", "/proc/net/", "/proc/thread-self/net", "/proc/self/net", "/sys/kernel")


def _speaks_to_the_kernel(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        return any(re.match(r"(podwire\.)?kernel\.(netlink|nftables)\b", module) for module in modules)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.startswith(_FILES_OF_THE_KERNEL)
    if isinstance(node, ast.Attribute) and node.attr in ("get", "dump", "ask"):
        return isinstance(node.value, ast.Attribute) and node.value.attr == "socket"
    name = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", None)
    return isinstance(name, str) and _OF_THE_KERNEL.fullmatch(name) is not None


def test_only_kernel_speaks_to_the_kernel() -> None:
    """Others hold a Namespace, and ask by functions of kernel/: no netlink, sysctl, setns or libc outside of it."""
    wrong = []
    for path in (ROOT / "podwire").rglob("*.py"):
        name = str(path.relative_to(ROOT / "podwire"))
        if name.startswith(("kernel/", "model/")) or name in _SPEAKERS or name.split("/")[0] in _SPEAKERS:
            continue
        wrong += [
            f"podwire/{name}:{getattr(node, 'lineno', 0)}"
            for node in ast.walk(ast.parse(path.read_text()))
            if _speaks_to_the_kernel(node)
        ]
    assert not wrong


def test_only_backends_know_their_types() -> None:
    """Who needs to know what a backend needs asks its descriptor."""
    wrong = []
    for path in (ROOT / "podwire").rglob("*.py"):
        if "backend" in path.relative_to(ROOT / "podwire").parts[:1]:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_isinstance = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
            if isinstance(node, (ast.Compare, ast.Subscript, ast.Match)) or is_isinstance:
                text = ast.unparse(node)
                if re.search(r"backend(_driver|_settings)?\.type\b|['\"]host-gw['\"]|\w+Backend\b", text):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text.splitlines()[0]}")
    assert not wrong


def test_ansible_lint() -> None:
    run("ansible-lint", "--offline", "-q", "--profile", "production")


def test_yamllint() -> None:
    run("yamllint", "--strict", ".")


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_shell(script: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", str(ROOT / script)], text=True, capture_output=True, check=False)
    assert not done.returncode, done.stdout


def test_the_workflow_is_made_of_commands_that_people_have() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    usage = subprocess.run([str(ROOT / "run"), "help"], text=True, capture_output=True, check=True).stdout
    verbs = {line.split()[1] for line in usage.splitlines() if line.startswith("  ./run ")}
    assert commands and {tuple(command.split()[:2]) for command in commands} == {("sudo", "./run")}
    assert {command.split()[2] for command in commands} <= verbs
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert {command.split()[-1] for command in commands if "molecule" in command} == scenarios


def literal(path: Path, name: str) -> Any:
    """The literal that a module assigns to a name, without importing the module."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    return None


def ansible_doc(*options: str) -> str:
    """What ``ansible-doc`` prints of podwire's modules, found as a person in this directory would have them found."""
    names = [path.stem for path in MODULES]
    command = [sys.executable, "-m", "ansible", "doc", "-t", "module", *options, *names]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(
        command, cwd=ROOT, env={**environ, "NO_COLOR": "1", "PAGER": "cat"}, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0 and "ERROR" not in done.stderr and "WARNING" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """Each module's documentation with the fragments in it."""
    return {name: found["doc"] for name, found in json.loads(ansible_doc("--json")).items()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_documents_itself(path: Path, documents: dict[str, Any]) -> None:
    document = documents[path.stem]
    assert document["module"] == path.stem
    assert document["attributes"]["check_mode"]["support"] == "full"
    assert document["attributes"]["diff_mode"]["support"] in ("full", "none")
    assert yaml.safe_load(literal(path, "EXAMPLES"))
    assert literal(path, "RETURN") is not None
    for task in yaml.safe_load(literal(path, "EXAMPLES")):
        assert set(task[path.stem] or {}) <= set(document["options"])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_documentation_equals_argument_spec(path: Path, documents: dict[str, Any]) -> None:
    told = {
        name: {key: value for key, value in option.items() if key not in ("description", "version_added")}
        for name, option in documents[path.stem]["options"].items()
    }
    # Ansible's default of ``required`` may be written out or not.
    assert {name: {"required": False, **option} for name, option in told.items()} == {
        name: {"required": False, **option} for name, option in ARGUMENTS[path.stem].items()
    }


def test_ansible_doc_prints_every_module() -> None:
    printed = ansible_doc()
    for path in MODULES:
        assert re.search(rf"> MODULE {path.stem} ", printed), path.stem


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_modules_have_in_common_is_documented_once(path: Path) -> None:
    """An option that modules share with the same specification comes from a fragment."""
    shared = ("intent", "node", "results", "library", "archive", "began", "run", "pairs", "found", "directory")
    written = yaml.safe_load(literal(path, "DOCUMENTATION")).get("options") or {}
    specification = ARGUMENTS["podwire_probe"] | ARGUMENTS["podwire_findings"] | ARGUMENTS["podwire_verdict"]
    for name in shared:
        if name in written and path.stem != "podwire_fault":  # its option node is another one
            assert ARGUMENTS[path.stem][name] != specification.get(name), name


def test_an_action_plugin_validates_what_its_module_does() -> None:
    for path in MODULES:
        plugin = (ROOT / "plugins" / "action" / path.name).read_text()
        assert "validate_argument_spec(" in plugin or "self._options()" in plugin, path.stem


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_has_argument_specs(role: Path) -> None:
    main = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    assert main["short_description"]
    for name, option in main["options"].items():
        assert option["description"], name


def test_declare_documents_the_inventory() -> None:
    """Every variable that the inventory may hold stands in the role's documentation, and no other."""
    from podwire.intent.inventory.names import CLUSTER_VARIABLES, NODE_VARIABLES

    specs = yaml.safe_load((ROOT / "roles/declare/meta/argument_specs.yml").read_text())
    assert set(specs["argument_specs"]["main"]["options"]) == {*CLUSTER_VARIABLES, *NODE_VARIABLES}


def test_library_never_imports_ansible() -> None:
    """A node needs nothing but Python's own library. Docker nodes are made on the controller, which needs Docker's."""
    docker = {ROOT / "podwire/lab/engine.py", ROOT / "podwire/lab/image.py"}
    for path in (ROOT / "podwire").rglob("*.py"):
        known = sys.stdlib_module_names | {"podwire", "_sha2"} | ({"docker", "requests"} if path in docker else set())
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in known, f"{path} imports {name}"


def test_library_compiles_on_the_oldest_python() -> None:
    for path in [*(ROOT / "podwire").rglob("*.py"), *MODULES]:
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_the_tests_of_a_lab_run_without_the_packages_of_the_others() -> None:
    """``./run site`` installs no more than podwire's own dependencies, and ends with tests/lab."""
    with open(ROOT / "pyproject.toml", encoding="utf-8") as file:
        text = file.read()
    listed = text.partition("\ntest = [\n")[2].partition("]")[0]
    extra = [name.replace("-", "_") for name in re.findall(r'"([\w-]+)', listed)]
    assert "hypothesis" in extra
    hidden = f"import sys; sys.modules.update(dict.fromkeys({extra!r})); import pytest; "
    command = "sys.exit(pytest.main(['--collect-only', '-q', 'tests/lab', '--podwire-inventory', 'inventories/lab']))"
    done = subprocess.run(
        [sys.executable, "-c", hidden + command],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "testinfra.plugin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """The modules of podwire that a module imports, wherever: in functions and for type checkers as well."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            submodules = {f"{module}.{alias.name}" for alias in node.names} & modules
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(module)
    return found & modules


def circles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """The strongly connected components of more than one module."""

    def reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            fresh = edges[waiting.pop()] - seen
            seen |= fresh
            waiting += fresh
        return seen

    backwards: dict[str, set[str]] = {module: set() for module in graph}
    for module, imported in graph.items():
        for name in imported:
            backwards[name].add(module)
    components = {frozenset(reachable(module, graph) & reachable(module, backwards)) for module in graph}
    return sorted((component for component in components if component), key=sorted)


#: Circles that are still to be removed. Only ever take lines away here.
KNOWN_CIRCLES: list[set[str]] = [
    {f"podwire.conform.{name}" for name in ("call", "case", "shape", "stub", "subject", "trial", "world")},
]


def test_no_modules_import_each_other() -> None:
    """Neither when they run nor for type checkers: constants and types that two need stand in a third."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "podwire").rglob("*.py")
    }
    graph = {name: imports_of(path, set(paths)) - {name} for name, path in paths.items()}
    unknown = [sorted(circle) for circle in circles(graph) if not any(circle <= known for known in KNOWN_CIRCLES)]
    assert not unknown, "modules import each other:\n" + "\n".join(map(str, unknown))
