"""What most plugins have in common. DEL needs no more of a plugin than this and its names."""

from __future__ import annotations

from ...model import state
from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import FrozenSet, List, Tuple

    from ...kernel import Namespace
    from ...model.objects import Chain
    from ...model.state import State
    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import Result
    from .chains import Kind

#: What the node's namespace is called, in messages and as the place of a veth's other end; no container's name has
#: a space.
NODE = "the node"


class PluginBase:
    """An interface, no rules, nothing beside the model."""

    makes_interface = True

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """None."""
        return frozenset()

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """None."""
        return ()

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """None."""
        return ()

    def refuse_clash(self, conf: NetConf, shared: State, device: State) -> State:
        """Nothing."""
        return state.EMPTY

    def without_device(self, conf: NetConf, shared: State, device: str) -> State:
        """All of it."""
        return shared

    def optional_features(self, conf: NetConf) -> str:
        """None."""
        return ""

    def validate(self, conf: NetConf) -> None:
        """ADD does."""

    def after_add(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> None:
        """Nothing."""

    def lacking(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> List[str]:
        """Nothing."""
        return []

    def after_delete(self, conf: NetConf, attachment: Attachment, node: Namespace) -> None:
        """Nothing."""

    def after_collect(self, conf: NetConf, valid: FrozenSet[Tuple[str, str]], node: Namespace) -> None:
        """Nothing."""
