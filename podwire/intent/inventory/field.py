"""Reading plain values: a Field knows its path, so that every problem names host, variable and value."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Collection, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ...model.objects import IPAddress, IPNetwork
from .names import meant

#: The subject of what is declared for the whole cluster.
ALL = "all hosts"
_NAMED = 3


def shown(value: object) -> str:
    """A value as the user would write it in YAML, cut to a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(member)}" for key, member in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(map(shown, value)) + "]"
    else:
        text = str(value)
    return text if len(text) <= 70 else text[:67] + "..."


class _Problem(NamedTuple):
    path: str
    text: str


class Problems:
    """Everything that is wrong; a problem that many hosts share is said once."""

    def __init__(self, hosts: Collection[str], origins: Mapping[Tuple[str, str], str]) -> None:
        self._hosts = hosts
        self._origins = origins
        self._found: Dict[_Problem, List[str]] = {}
        self._unsound: Set[str] = set()

    def add(self, subject: str, path: str, value: object, cause: str, right: str) -> None:
        """``subject`` is a host or ALL; ``right`` says what to write instead."""
        written = "" if value is None else f" = {shown(value)}"
        self._found.setdefault(_Problem(path, f"{path}{written}: {cause}; {right}"), []).append(subject)
        self._unsound.add(root(path))

    def sound(self, *variables: str) -> bool:
        """True when nothing is wrong with these variables, so that checks which combine them make sense."""
        return self._unsound.isdisjoint(variables)

    def __iter__(self) -> Iterator[str]:
        for problem, subjects in self._found.items():
            yield f"{self._subject(root(problem.path), subjects)}: {problem.text}"

    def _subject(self, variable: str, subjects: Sequence[str]) -> str:
        hosts = list(self._hosts) if ALL in subjects else list(dict.fromkeys(subjects))
        name = ", ".join(hosts[:_NAMED])
        if ALL in subjects or (len(hosts) == len(self._hosts) > 1):
            name = ALL
        elif len(hosts) > _NAMED:
            name += f" and {len(hosts) - _NAMED} more"
        origins = {self._origins.get((host, variable)) for host in hosts} - {None}
        return f"{name} ({origins.pop()})" if len(origins) == 1 else name


def root(path: str) -> str:
    """The variable that a path starts with."""
    return path.split(".", 1)[0].split("[", 1)[0]


class Field:
    """One value of the inventory. Readers answer None (or the default given) after noting a problem."""

    __slots__ = ("problems", "subject", "path", "value")

    def __init__(self, problems: Problems, subject: str, path: str, value: Any) -> None:
        self.problems, self.subject, self.path, self.value = problems, subject, path, value

    def fail(self, cause: str, right: str) -> None:
        """Note that this value is wrong."""
        self.problems.add(self.subject, self.path, self.value, cause, right)

    def member(self, key: object, value: Any) -> Field:
        """The value below a key."""
        return Field(self.problems, self.subject, f"{self.path}.{key}", value)

    def mapping(self, known: Sequence[str]) -> Dict[str, Field]:
        """The values below the known keys that are set; other keys are problems."""
        fields = self.named(f"write a mapping with keys out of {', '.join(known)}")
        for key in [key for key in fields if key not in known]:
            near = meant(key, known)
            fields.pop(key).fail("unknown key", f"did you mean {near}?" if near else f"known are {', '.join(known)}")
        return fields

    def named(self, right: str) -> Dict[str, Field]:
        """The values of a mapping whose keys are names that the user gives."""
        if not isinstance(self.value, Mapping):
            self.fail("not a mapping", right)
            return {}
        return {str(key): self.member(key, value) for key, value in self.value.items() if value is not None}

    def items(self, example: str) -> List[Field]:
        """The values of a list."""
        if not isinstance(self.value, (list, tuple)):
            right = f"write [{self.value}]" if isinstance(self.value, str) else f"write a list, e.g. {example}"
            self.fail("not a list", right)
            return []
        items = enumerate(self.value)
        return [Field(self.problems, self.subject, f"{self.path}[{i}]", value) for i, value in items]

    def boolean(self, default: bool) -> bool:
        """True or false; a string is not a boolean, however much it looks like one."""
        if isinstance(self.value, bool):
            return self.value
        word = str(self.value).lower()
        right = "write true or false"
        if isinstance(self.value, str) and word in ("yes", "true", "on", "1", "no", "false", "off", "0"):
            truth = word in ("yes", "true", "on", "1")
            right = f"write {'true' if truth else 'false'} without quotes (in an INI inventory {truth})"
        self.fail(f"{_kind(self.value)}, not a boolean", right)
        return default

    def integer(self, low: int, high: int, example: int) -> Optional[int]:
        """A number in a closed range."""
        right = f"write a number from {low} to {high}, e.g. {example}"
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            if low <= self.value <= high:
                return int(self.value)
            self.fail("out of range", right)
        elif isinstance(self.value, str) and self.value.isdecimal() and low <= int(self.value) <= high:
            self.fail("a string, not a number", f"write {int(self.value)} without quotes")
        else:
            self.fail(f"{_kind(self.value)}, not a number", right)
        return None

    def text(self, example: str) -> Optional[str]:
        """A string that is not empty."""
        if isinstance(self.value, str) and self.value:
            return str(self.value)
        self.fail("empty" if self.value == "" else f"{_kind(self.value)}, not a name", f"write a name, e.g. {example}")
        return None

    def choice(self, options: Sequence[str], default: str) -> str:
        """One of a few options."""
        if isinstance(self.value, str) and self.value in options:
            return str(self.value)
        near = meant(self.value, options) if isinstance(self.value, str) else None
        right = f"write {' or '.join(options)}"
        self.fail("unknown", f"did you mean {near}? Else {right}" if near else right)
        return default

    def cidr(self, example: str) -> Optional[IPNetwork]:
        """A network; host bits must be zero."""
        if not isinstance(self.value, str) or "/" not in self.value:
            self.fail("not a CIDR", f"write address/length, e.g. {example}")
            return None
        try:
            network = ip_network(str(self.value), strict=False)
        except ValueError:
            self.fail("not a CIDR", f"write address/length, e.g. {example}")
            return None
        if str(network.network_address) != str(ip_address(self.value.split("/")[0])):
            self.fail("host bits are set", f"write {network}")
            return None
        return network

    def address(self, example: str) -> Optional[Tuple[IPAddress, Optional[int]]]:
        """An address, and its prefix length where one is written."""
        if isinstance(self.value, str):
            address, slash, length = self.value.partition("/")
            try:
                parsed = ip_address(address)
                if not slash or (length.isdecimal() and int(length) <= parsed.max_prefixlen):
                    return parsed, int(length) if slash else None
            except ValueError:
                pass
        self.fail("not an IP address", f"write e.g. {example}")
        return None


def _kind(value: object) -> str:
    for types, word in ((bool, "a boolean"), (str, "a string"), (int, "a number"), (float, "a fraction")):
        if isinstance(value, types):
            return word
    if value is None:
        return "empty"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, (list, tuple)) else "a value"
