"""Run a stage of podwire in a module's own process, with the same podwire as the controller's."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import zipfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_arguments import ARGUMENTS

HOME = "/opt/podwire"


def run(name: str) -> None:
    """Run the stage of the module ``name`` and exit.

    If the library on the node is not the controller's, the answer says only that; the action plugin calls again with
    an archive of the right one.
    """
    module = AnsibleModule(argument_spec=ARGUMENTS[name], supports_check_mode=True)
    present, wanted, archive = installed(), module.params["library"], module.params["archive"]
    if wanted in (None, present):
        sys.path.insert(0, os.path.join(HOME, present))
    elif archive:
        sys.path.insert(0, unpacked(archive))
    else:
        module.exit_json(library_differs=True, changed=False)
    try:
        from podwire.stages.node import run_in_module
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; the role library installs it there")
    stage = name[len("podwire_") :]
    result = run_in_module(stage, module.params, module.check_mode, module._diff)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


def installed() -> str:
    """The digest of the library on the node; without one "lib", a directory that does not exist."""
    return os.path.basename(os.path.realpath(os.path.join(HOME, "lib")))


def unpacked(archive: str) -> str:
    """The archive's modules, in a directory that is removed when this process ends."""
    directory = tempfile.TemporaryDirectory(prefix="podwire-")
    atexit.register(directory.cleanup)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(directory.name)
    return directory.name
