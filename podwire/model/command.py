"""Commands for an administrator as argument lists; they become a shell's text only where they are printed.

Names of devices, paths and container ids come from the node and may hold anything but a NUL (a device may be called
``x;id``), so no command is ever put together from text. Pure.
"""

from __future__ import annotations

import shlex
from typing import Iterable, List, NamedTuple, Tuple


class Command(NamedTuple):
    """``words``: the program and its arguments. ``output``: a file that its output replaces, "" for none.
    ``comment``: printed behind it, for a person."""

    words: Tuple[str, ...]
    output: str = ""
    comment: str = ""

    def __str__(self) -> str:
        text = shlex.join(self.words)
        return f"{text} > {shlex.quote(self.output)}" if self.output else text


def command(template: str, *values: object, more: Iterable[object] = ()) -> Command:
    """``command("ip link set dev {} mtu {}", name, 1450)``: the template is split into words, values never are.
    ``more``: words to append."""
    left = list(values)
    words: List[str] = []
    for word in template.split():
        count = word.count("{}")
        words.append(word.format(*left[:count]) if count else word)
        del left[:count]
    assert not left, template
    return Command((*words, *map(str, more)))


def within(netns: str, inner: Command) -> Command:
    """The same in the network namespace at the path ``netns``."""
    return inner._replace(words=("nsenter", f"--net={netns}", *inner.words))


def write_file(path: str, content: str, mode: int = 0o644) -> List[Command]:
    """A text file with a content."""
    printed = Command(("printf", "%s\\n", *content.splitlines()), output=path)
    return [printed, command("chmod {} {}", f"{mode:o}", path)]


def script(commands: Iterable[Command]) -> str:
    """The commands as a line of shell: one after the other, as long as they succeed."""
    steps = list(commands)
    comments = [step.comment for step in steps if step.comment]
    line = " && ".join(map(str, steps))
    return f"{line}    # {'; '.join(comments)}" if comments else line
