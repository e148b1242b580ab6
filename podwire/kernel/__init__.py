"""The only place that talks to the kernel: namespaces, netlink, sysctls, nftables, and node files."""

from .execute import Step, execute
from .namespaces import Namespace
from .show import Observed, Reader, link_of, routes, show

__all__ = ["Namespace", "Reader", "Observed", "Step", "execute", "link_of", "routes", "show"]
