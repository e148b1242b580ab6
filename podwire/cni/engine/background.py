"""Work of this process that takes place while it waits in the kernel."""

from __future__ import annotations

import _thread

from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, Optional


class beside:
    """``function()`` in a thread of its own from ``with`` to its end, which waits for it and raises its error.

    The thread is in the network namespace that this one is in now, and runs while this one is in a system call
    without Python's lock, such as a request that takes the kernel long. ``result`` is what the function returned.
    Where no thread can be had, the function is called at the end.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.result: Any = None
        self._function = function
        self._error: Optional[BaseException] = None
        self._started = True
        self._running = _thread.allocate_lock()

    def __enter__(self) -> beside:
        self._running.acquire()
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # the limit of processes is reached
            self._started = False
        return self

    def _run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._running.release()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not self._started:
            self._run()
        self._running.acquire()
        if self._error is not None and kind is None:
            raise self._error
