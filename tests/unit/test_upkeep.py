"""When the watching process applies, and what a node keeps."""

from __future__ import annotations

from typing import List

from hypothesis import given
from hypothesis import strategies as st

from podwire.agent.watch import CHANGED, LONGEST_RETRY, PATIENCE, QUIET, REST, RETRY, Debouncer


class Clock:
    """Time that tests make."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def applied(pace: Debouncer, clock: Clock, status: int, took: float = 1.0) -> None:
    pace.begin()
    clock.now += took
    pace.end(status)


def quiet() -> tuple[Debouncer, Clock]:
    """After the first apply, which changed something."""
    clock = Clock()
    pace = Debouncer(clock)
    assert pace.due()
    applied(pace, clock, CHANGED)
    return pace, clock


def test_nothing_is_done_until_something_is_heard() -> None:
    pace, clock = quiet()
    clock.now += 1e6
    assert pace.wait() is None
    assert not pace.due()


def test_a_flock_of_changes_is_waited_for_but_not_for_ever() -> None:
    pace, clock = quiet()
    heard = clock.now
    while not pace.due():
        pace.heard()
        clock.now += QUIET / 2
    assert PATIENCE <= clock.now - heard <= PATIENCE + QUIET


def test_an_apply_that_changed_something_is_followed_by_a_look_and_then_by_silence() -> None:
    pace, clock = quiet()
    pace.heard()  # of what that apply itself did
    clock.now += QUIET
    assert pace.due()
    applied(pace, clock, 0)
    assert pace.wait() is None


def test_whatever_others_do_looking_takes_a_tenth_of_a_cpu() -> None:
    pace, clock = quiet()
    began, spent = clock.now, 0.0
    while clock.now < began + 1000:
        pace.heard()
        if pace.due():
            applied(pace, clock, 0)
            spent += 1.0
        else:
            clock.now += 0.05
    assert spent / (clock.now - began) <= 1 / (1 + REST) * 1.1
    pace.heard()
    assert pace.wait() is not None, "a change after all that is looked at"


@given(st.integers(1, 12))
def test_what_failed_is_tried_again_less_and_less_often(failures: int) -> None:
    clock = Clock()
    pace = Debouncer(clock)
    waits: List[float] = []
    for _ in range(failures):
        applied(pace, clock, 1)
        wait = pace.wait()
        assert wait is not None
        waits.append(wait / 1000)
        clock.now += wait / 1000
        assert pace.due()
    assert waits == sorted(waits)
    assert RETRY <= waits[0] <= RETRY + 0.01
    assert waits[-1] <= LONGEST_RETRY + 0.01
    applied(pace, clock, CHANGED)
    applied(pace, clock, 1)
    wait = pace.wait()
    assert wait is not None
    assert wait / 1000 <= RETRY + 0.01
