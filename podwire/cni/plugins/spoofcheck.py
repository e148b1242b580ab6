"""macspoofchk of bridge: frames that come by a container's port with another MAC address than its own are dropped."""

from __future__ import annotations

from ...kernel.nftables import expressions as nft
from ...model.objects import Chain
from ...startup_typing import TYPE_CHECKING
from . import owned

if TYPE_CHECKING:
    from typing import FrozenSet, Optional

    from ...model.objects import MacAddress, Rule
    from ..spec.netconf import Attachment, NetConf

CHAIN = Chain("bridge", owned.TABLE, "spoofcheck", "filter", 0, -300)  # prerouting, before everything


def rules(conf: NetConf, attachment: Attachment, port: str, mac: Optional[MacAddress]) -> FrozenSet[Rule]:
    """The rule that ``macspoofchk`` asks for; none where the container's address is left to the kernel."""
    if mac is None:
        return frozenset()
    return frozenset(
        {owned.rule(conf, attachment, CHAIN, nft.comes_by(port), nft.hardware_source(mac, negated=True), nft.drop())}
    )
