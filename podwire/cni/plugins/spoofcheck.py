"""macspoofchk of bridge: frames that come by a container's port with another MAC address than its own are dropped."""

from __future__ import annotations

from ...kernel import nft_parts as nft
from ...lean import TYPE_CHECKING
from ...model import Chain
from . import owned

if TYPE_CHECKING:
    from typing import FrozenSet, Optional

    from ...model import MacAddress, Rule
    from ..netconf import Attachment, NetConf

CHAIN = Chain("bridge", owned.TABLE, "spoofcheck", "filter", 0, -300)  # prerouting, before everything


def rules(conf: NetConf, attachment: Attachment, port: str, mac: Optional[MacAddress]) -> FrozenSet[Rule]:
    """The rule that ``macspoofchk`` asks for; none where the container's address is left to the kernel."""
    if mac is None:
        return frozenset()
    return frozenset(
        {owned.rule(conf, attachment, CHAIN, nft.comes_by(port), nft.hardware_source(mac, negated=True), nft.drop())}
    )
