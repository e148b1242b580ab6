"""A black-box conformance suite of the CNI specification, for any directory of plugin executables.

Each case runs as PID 1 of a throw-away node: its own network, mount, PID, UTS and IPC namespaces, in
which /run is empty and /etc, /var/lib and /var/log are overlays in memory. It looks at plugins only
from outside: environment, stdin, stdout, stderr, exit status, and what ``ip`` and ``nft`` print.
Nothing here knows podwire's own plugins. docs/CONFORMANCE.md says how to read it and how to add a case.
"""
