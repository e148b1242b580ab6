"""The conformance suite once more, for podwire's plugins as the runtime runs them: one engine, and so no difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podwire.cli import main
from podwire.cni.spec.registry import PLUGINS
from tests.cni import through_runtime


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_runtime_keeps_to_every_case(plugin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugins, report = tmp_path / "plugins", tmp_path / "conform.json"
    through_runtime.install(plugins)
    status = main(["conform", str(plugins), "--plugin", plugin, "--json", str(report)])
    [judged] = json.loads(report.read_text())["plugins"]
    wrong = [case["id"] for case in judged["cases"] if case["verdict"] in ("fail", "error")]
    assert (wrong, status) == ([], 0), capsys.readouterr().out
    assert any(case["verdict"] == "pass" for case in judged["cases"])
