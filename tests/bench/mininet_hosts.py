"""Mininet with N hosts on one Linux bridge, for Debian's interpreter; ``check`` sees whether they talk."""

import os
import sys

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

net = Mininet(topo=SingleSwitchTopo(k=int(sys.argv[1])), switch=LinuxBridge, controller=None)
net.start()
if "check" in sys.argv and "1/1/0%" not in net.hosts[0].cmd("fping -c1 -t5000", net.hosts[-1].IP()):
    sys.exit("Mininet's hosts do not reach each other")
os._exit(0)  # as podwire leaves its nodes running, so does this: taking down is not measured
