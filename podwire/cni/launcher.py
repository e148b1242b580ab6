"""The text of an installed executable. ``@PYTHON@``, ``@PLUGIN@`` and ``@VERSION@`` are filled in by install.py."""

from __future__ import annotations

TEXT = r"""#!@PYTHON@ -ISB
# podwire's CNI plugin @PLUGIN@, made by "podwire cni-install".
import posix, sys

try:
    path = __file__
    while True:
        library = (path.rpartition("/")[0] or ".") + "/.podwire/@VERSION@"
        try:
            file = posix.open(library + "/archive", posix.O_RDONLY | posix.O_CLOEXEC)
            break
        except FileNotFoundError:  # a link to the real one?
            there = posix.readlink(path)
            path = there if there[0] == "/" else (path.rpartition("/")[0] or ".") + "/" + there
    version = sys.version.encode()
    start = len(version) + 8
    head = posix.pread(file, start, 0)
    if head.startswith(version):
        import gc, marshal

        gc.disable()
        first, index, extensions = marshal.loads(posix.pread(file, int(head[-8:]), start))
        names = {"__name__": "preload"}
        exec(first, names)
        names["preload"](library, file, index, extensions)
    else:  # another Python since: slower, from sources
        sys.path.insert(0, library)
    from podwire.cni.launch import launch

    launch("@PLUGIN@")
except BaseException as error:
    sys.excepthook(type(error), error, error.__traceback__)
    said = "".join(each for each in str(error) if each.isprintable() and each not in '\\"')
    text = '{"cniVersion":"1.1.0","code":100,"msg":"unexpected %s: %s","details":"this is a bug in podwire"}\n'
    posix.write(1, (text % (type(error).__name__, said)).encode("ascii", "replace"))
    posix._exit(1)
"""
