"""Which names the kernel gives to a network device, for inventories and for CNI configurations alike."""

from __future__ import annotations

#: IFNAMSIZ (include/uapi/linux/if.h), without the NUL at its end.
LONGEST = 15
#: isspace() of the kernel (lib/ctype.c), and what dev_valid_name() in net/core/dev.c refuses. ``%`` is refused here
#: alone: dev_alloc_name() takes such a name for a template, and makes ``br0`` of ``br%d``.
_REFUSED = b"\t\n\v\f\r \xa0/:%\0"


def is_device_name(text: str) -> bool:
    """Whether a device can be called exactly this."""
    try:
        name = text.encode()
    except UnicodeEncodeError:  # bytes of the environment that are no text
        return False
    return (
        1 <= len(name) <= LONGEST
        and name not in (b".", b"..")
        and not any(byte in _REFUSED for byte in name)
        and not any(character.isspace() for character in text)
    )
