"""The text of an installed executable. ``@PYTHON@``, ``@PLUGIN@`` and ``@VERSION@`` are filled in by install.py.

It is compiled at every start, which takes 0.3 ms: so it is short, and the rest is in the archive. If the library does
not even load, its own last lines answer as the specification wants it.
"""

from __future__ import annotations

TEXT = r"""#!@PYTHON@ -ISB
# podwire's CNI plugin @PLUGIN@, made by "podwire cni-install".
import marshal, posix, sys
try:
    for each in sys.stdin, sys.stdout, sys.stderr:
        if each is None:  # closed: no file that is opened from here on may take its number
            posix.open("/dev/null", posix.O_RDONLY)
    path = __file__
    while True:
        here = path.rpartition("/")[0] or "."
        library = here + "/.podwire/@VERSION@"
        try:
            file = posix.open(library + "/archive", posix.O_CLOEXEC)
            break
        except FileNotFoundError:  # a link to the real one?
            there = posix.readlink(path)
            path = there if there[0] == "/" else here + "/" + there
    version = sys.version.encode()
    head = posix.pread(file, len(version) + 8, 0)
    if head.startswith(version):
        exec(marshal.loads(posix.pread(file, int(head[-8:]), len(head))))
    else:  # another Python since: slower, from sources
        sys.path.insert(0, library)
    from podwire.cni.launch import launch
    launch("@PLUGIN@")
except BaseException:
    sys.excepthook(*sys.exc_info())
    posix.write(1, b'{"cniVersion":"1.1.0","code":100,"msg":"@PLUGIN@ crashed","details":"stderr tells where"}\n')
    posix._exit(1)
"""
