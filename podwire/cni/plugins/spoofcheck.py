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
    """None without macspoofchk."""
    if not conf.flag("macspoofchk") or mac is None:
        return frozenset()
    return frozenset(
        {owned.rule(conf, attachment, CHAIN, nft.comes_by(port), nft.hardware_source(mac, negated=True), nft.drop())}
    )
