"""What a State has to become so that a fault is gone, and nothing else is. Pure.

Three versions meet: ``before`` and ``after`` the fault, and ``now``. What the fault took comes back unless somebody
else has filled its place; what it brought goes; everything else stays as it is now, whoever changed it.
"""

from __future__ import annotations

from typing import Any, FrozenSet, Iterable, Optional

from ..model.objects import Link
from ..model.state import State


def mended(before: State, after: Optional[State], now: State) -> State:
    """``now`` without the fault. ``after`` is None where a crash came before it was written down: then all that
    differs from ``before`` is the fault's."""
    then = now if after is None else after
    # A device that comes back has lost its sysctls, and what stands there now is nobody's wish.
    links = _links(before.links, then.links, now.links)
    parts = {
        name: _field(getattr(before, name), getattr(then, name), getattr(now, name))
        for name in State._fields
        if name != "links"
    }
    devices = {link.name for link in links}
    fresh = {link.name for link in before.links} - {link.name for link in then.links}
    lost = {sysctl.key: sysctl for sysctl in before.sysctls if _device(sysctl.key) in fresh}
    kept = {sysctl for sysctl in parts["sysctls"] if sysctl.key not in lost} | set(lost.values())
    parts["sysctls"] = frozenset(each for each in kept if _device(each.key) in devices | {""})
    return now._replace(links=links, **parts)


def _field(before: FrozenSet[Any], after: FrozenSet[Any], now: FrozenSet[Any]) -> FrozenSet[Any]:
    """Of one kind. An object's place is filled where another has its identity."""
    remaining = now - (after - before)
    filled = {item.identity() for item in remaining}
    return remaining | {item for item in before - after if item.identity() not in filled}


def _links(before: Iterable[Link], after: Iterable[Link], now: Iterable[Link]) -> FrozenSet[Link]:
    was = {link.name: link for link in before}
    faulty = {link.name: link for link in after}
    found = {link.name: link for link in now}
    for name, link in was.items():
        broken, current = faulty.get(name), found.get(name)
        if broken is None or (current is None and broken != link):
            found[name] = link
        elif current is not None and broken != link:
            fields = {key for key in Link._fields if getattr(link, key) != getattr(broken, key)}
            mine = {key: getattr(link, key) for key in fields if getattr(current, key) == getattr(broken, key)}
            found[name] = current._replace(**mine)
    for name in faulty.keys() - was.keys():
        found.pop(name, None)
    return frozenset(found.values())


def _device(key: str) -> str:
    """The device of a sysctl such as net/ipv4/conf/eth0/rp_filter; "" for those of none."""
    parts = key.split("/")
    return parts[3] if len(parts) == 5 and parts[2] == "conf" and parts[3] not in ("all", "default") else ""
