"""What the documentation of podwire's modules has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """``podwire.intent`` in a module's ``extends_documentation_fragment`` is ``INTENT`` here, and so on."""

    INTENT = r"""
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
"""
    NODE = r"""
options:
  node:
    description: The node's name in the intent. Default is the host's name in the inventory.
    type: str
"""
    RESULTS = r"""
options:
  results:
    description: Directory on the controller for the results of a run, as M(podwire_declare) returns it.
    type: path
    required: true
"""
    BEGAN = r"""
options:
  began:
    description: When the run began, as M(podwire_declare) returns it.
    type: float
    required: true
"""
    RUN = r"""
options:
  run:
    description: Identifies the run; C(began) of M(podwire_declare).
    type: str
    required: true
"""
    LIBRARY = r"""
options:
  library:
    description: Digest of the controller's podwire. The action plugin sets it. Default is the node's own library.
    type: str
  archive:
    description:
      - Path on the node of the controller's podwire. The action plugin copies it there if the node has another version.
    type: path
"""
    DIRECTORY = r"""
options:
  directory:
    description: Directory of the CNI plugins, on nodes that are not of kind netns.
    type: path
    default: /opt/cni/bin
"""
    PROBES = r"""
options:
  pairs:
    description:
      - Which pairs of pods are probed. V(classes) is one pair for each two nodes, and one pair in each direction for
        each pod; if one fails, the pairs that it represents are probed too. V(auto) is V(all) up to 10,000 pairs.
    type: str
    choices: [auto, all, classes]
    default: auto
  addresses:
    description: Addresses of all pods by pod. Default is what M(podwire_attach) stored in O(results).
    type: dict
  found:
    description: What M(podwire_discover) found, by node. Default is what it stored in O(results).
    type: dict
"""
    PLANNED = r"""
attributes:
  check_mode:
    support: full
    description: The plan is made and shown, and nothing is changed. A node that does not exist yet counts as empty.
  diff_mode:
    support: full
    description: The plan, one object per line, with C(+) for add, C(~) for change, C(-) for remove.
"""
    READ_ONLY = r"""
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
"""
