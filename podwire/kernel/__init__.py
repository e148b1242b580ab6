"""The only place that talks to the kernel: namespaces, netlink, sysctls, nftables, and node files."""

from .execute import Step, execute
from .namespace import Namespace
from .show import Reader, Shown, show

__all__ = ["Namespace", "Reader", "Shown", "Step", "execute", "show"]
