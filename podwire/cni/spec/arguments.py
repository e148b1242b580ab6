"""What a runtime says to plugins beside the configuration: CNI_ARGS, and values for capabilities."""

from __future__ import annotations

from ...errors import CNI_INVALID_ENVIRONMENT, CniError
from ...startup_typing import TYPE_CHECKING, NamedTuple
from .netconf import NetConf

if TYPE_CHECKING:
    from typing import Any, Mapping, Tuple

    Pairs = Tuple[Tuple[str, str], ...]


class Arguments(NamedTuple):
    """``pairs`` are CNI_ARGS; ``capabilities`` become the ``runtimeConfig`` of the plugins that declare them."""

    pairs: Pairs = ()
    capabilities: Mapping[str, Any] = {}

    @property
    def text(self) -> str:
        """The pairs as CNI_ARGS has them."""
        return ";".join(f"{key}={value}" for key, value in self.pairs)

    def configure(self, conf: NetConf) -> NetConf:
        """A plugin's configuration with the values of the capabilities that it declares."""
        declared = conf.data.get("capabilities") or {}
        values = {key: value for key, value in self.capabilities.items() if declared.get(key)}
        if not values:
            return conf
        return NetConf(conf.cni_version, conf.name, conf.type, {**conf.data, "runtimeConfig": values})


def parse_pairs(text: str) -> Pairs:
    """``K=V;K=V``, as CNI_ARGS has them; CniError 4 for anything else."""
    pairs = []
    for each in text.split(";") if text else ():
        key, equals, value = each.partition("=")
        if not key or not equals or not value:
            raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS pair {each!r}", "write KEY=VALUE;KEY=VALUE")
        pairs.append((key, value))
    return tuple(pairs)
