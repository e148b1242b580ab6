"""Run a stage of podwire in a module's own process, with the very podwire that the controller has."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import zipfile

from ansible.module_utils.basic import AnsibleModule

HOME = "/opt/podwire"


def run(stage: str, module: AnsibleModule) -> None:
    """Run and exit. Where the library on the node is not the controller's, that is what the first answer says;
    the second call brings it along."""
    there, wanted, archive = installed(), module.params["library"], module.params["archive"]
    if wanted in (None, there):
        sys.path.insert(0, os.path.join(HOME, there))
    elif archive:
        sys.path.insert(0, unpacked(archive))
    else:
        module.exit_json(library_differs=True, changed=False)
    try:
        from podwire.stages.node import at_home
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; the role library brings it there")
    result = at_home(stage, module.params, module.check_mode, module._diff)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


def installed() -> str:
    """The digest of the library on the node; "lib", which is nowhere, if there is none."""
    return os.path.basename(os.path.realpath(os.path.join(HOME, "lib")))


def unpacked(archive: str) -> str:
    """The archive's modules in a directory that goes when this process ends."""
    directory = tempfile.TemporaryDirectory(prefix="podwire-")
    atexit.register(directory.cleanup)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(directory.name)
    return directory.name
