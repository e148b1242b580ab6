"""The text of an installed executable. ``@PYTHON@``, ``@PLUGIN@`` and ``@VERSION@`` are filled in by install.py.

It is compiled at every start: so the usual way through it is short. What else can be the matter stands in a text that
is only compiled when something is: it is called by a link; there is another Python since, which reads the sources,
slower; or the library does not even load, and its own last lines answer as the specification wants it.
"""

from __future__ import annotations

TEXT = r"""#!@PYTHON@ -ISB
# podwire's CNI plugin @PLUGIN@, made by "podwire cni-install".
import marshal, posix, sys
plugin = "@PLUGIN@"
otherwise = r'''
try:
    error, here = sys.exc_info()[1], __file__.rpartition("/")[0] or "."
    if isinstance(error, FileNotFoundError):
        there = posix.readlink(__file__)
        posix.execve(there if there[0] == "/" else here + "/" + there, sys.argv, posix.environ)
    if error:
        raise error
    sys.path.insert(0, library)
    from podwire.cni.install.launch import launch
    launch(plugin)
except BaseException:
    sys.excepthook(*sys.exc_info())
    posix.write(1, b'{"cniVersion":"1.1.0","code":100,"msg":"@PLUGIN@ crashed","details":"stderr tells where"}\n')
    posix._exit(1)
'''
try:
    for stream in sys.stdin, sys.stdout, sys.stderr:
        if stream is None:  # closed: no file that is opened from here on may take its number
            posix.open("/dev/null", posix.O_RDONLY)
    library = (__file__.rpartition("/")[0] or ".") + "/.podwire/@VERSION@"
    archive = posix.open(library + "/archive", posix.O_CLOEXEC)
    version, head = posix.pread(archive, 1 << 15, 0).split(b"\0", 1)
    if version == sys.version.encode():
        start, index, packs = marshal.loads(head)
    else:
        start = otherwise
    exec(start)
except BaseException:
    exec(otherwise)
"""
