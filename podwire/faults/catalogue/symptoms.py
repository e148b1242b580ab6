"""How most faults show."""

from __future__ import annotations

from ..symptom import PODS_MTU, Symptom

LOST = frozenset({"lost", "unreachable"})
#: From the pod to a pod of the peer; to another pod of its node; from the node to the pod.
FAR = Symptom("echo", "pod", "peer", LOST)
NEAR = Symptom("echo", "pod", "sibling", LOST)
AGENT = Symptom("echo", "node", "pod", LOST)
#: What fits into the pods' MTU and vanishes all the same.
LARGE = Symptom("echo", "pod", "peer", LOST, PODS_MTU)
SLOW = Symptom("burst", "pod", "peer", frozenset({"slow", "lost"}))
