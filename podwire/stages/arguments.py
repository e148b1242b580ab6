"""The argument specifications of podwire's Ansible modules.

``plugins/module_utils/podwire_arguments.py`` is a symbolic link to this file. A module validates its arguments with
it on the node, and an action plugin on the controller, so an argument means the same on every kind of node.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

Spec = Dict[str, Dict[str, Any]]

_INTENT: Spec = {"intent": {"type": "path", "required": True}}
_OPTIONAL_INTENT: Spec = {"intent": {"type": "path"}}
_NODE: Spec = {"node": {"type": "str"}}
_RESULTS: Spec = {"results": {"type": "path", "required": True}}
_BEGAN: Spec = {"began": {"type": "float", "required": True}}
_RUN: Spec = {"run": {"type": "str", "required": True}}
_LIBRARY: Spec = {"library": {"type": "str"}, "archive": {"type": "path"}}
_DIRECTORY: Spec = {"directory": {"type": "path", "default": "/opt/cni/bin"}}
_THROUGHPUT: Spec = {"throughput": {"type": "bool", "default": False}}
_PROBES: Spec = {
    "pairs": {"type": "str", "choices": ["auto", "all", "classes"], "default": "auto"},
    "addresses": {"type": "dict"},
    "found": {"type": "dict"},
}
_STAGE: Spec = {**_INTENT, **_NODE, **_RESULTS, **_LIBRARY}

#: By the name of the module.
ARGUMENTS: Dict[str, Spec] = {
    "podwire_attach": {
        **_STAGE,
        "conflist": {"type": "raw"},
        "plugin_dirs": {"type": "list", "elements": "path"},
    },
    "podwire_cni": {**_OPTIONAL_INTENT, **_DIRECTORY, **_LIBRARY, "force": {"type": "bool", "default": False}},
    "podwire_declare": {"leaving": {"type": "list", "elements": "str"}},
    "podwire_discover": {
        **_STAGE,
        **_THROUGHPUT,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    "podwire_evidence": {**_STAGE, **_PROBES},
    "podwire_explain": {
        **_INTENT,
        **_RESULTS,
        **_BEGAN,
        "src": {"type": "str"},
        "dst": {"type": "str"},
        "ask": {"type": "bool", "default": False},
    },
    "podwire_fault": {
        **_INTENT,
        **_RESULTS,
        **_LIBRARY,
        "state": {"type": "str", "choices": ["present", "absent", "listed"], "default": "present"},
        "fault": {"type": "str"},
        "node": {"type": "str"},
        "peer": {"type": "str"},
        "pod": {"type": "str"},
        "host_wide": {"type": "bool", "default": False},
        "blind": {"type": "bool", "default": False},
        "faults": {"type": "list", "elements": "dict"},
        "addresses": {"type": "dict"},
    },
    "podwire_findings": {**_INTENT, **_RESULTS, **_RUN},
    "podwire_lab": {
        **_OPTIONAL_INTENT,
        "leaving": {"type": "list", "elements": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "image": {"type": "str"},
        "base": {"type": "str", "default": "debian:12-slim"},
    },
    "podwire_library": {**_OPTIONAL_INTENT, **_LIBRARY},
    "podwire_node": {**_INTENT, **_NODE, **_LIBRARY, "together": {"type": "bool", "default": False}},
    "podwire_node_info": {"peers": {"type": "list", "elements": "str"}, **_LIBRARY},
    "podwire_pod_info": _STAGE,
    "podwire_preflight": {
        **_STAGE,
        **_RUN,
        "step": {"type": "str", "choices": ["listen", "send", "collect"], "required": True},
    },
    "podwire_probe": {**_STAGE, **_PROBES, **_THROUGHPUT},
    "podwire_reset": {**_DIRECTORY, **_LIBRARY},
    "podwire_trace": {**_STAGE, "asked": {"type": "list", "elements": "dict", "required": True}},
    "podwire_verdict": {**_INTENT, **_RESULTS, **_BEGAN},
}
#: Arguments that are required with a value of another one, likewise.
REQUIRED_IF: Dict[str, List[Tuple[str, Any, List[str]]]] = {"podwire_lab": [("state", "present", ["intent"])]}
