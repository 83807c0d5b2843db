"""Conditions of machines: one series per machine, however many of its targets report it."""

from safelight.metrics.metric import Label
from safelight.metrics.promql import INSTANCE, copied

MACHINE = Label("machine", "Kubernetes node of the target, or the host of its address.")
AS_MACHINE = "{{ $labels.machine }}"
NODE = Label("node", "Kubernetes node, which Prometheus adds to the targets in a cluster.")
_HOST = "(.+?)(?::[0-9]+)?"  # without the port


def per_machine(expression: str, *labels: Label) -> str:
    """Return the largest value of each machine, and of each of its GPUs or disks by `labels`."""
    by = ", ".join(label.name for label in (MACHINE, *labels))
    return f"max by ({by}) ({with_machine(expression)})"


def with_machine(expression: str) -> str:
    """Return the expression with the label `machine`.

    On Kubernetes the address is that of a pod; the target's label `node` names its machine.
    """
    of_address = copied(expression, INSTANCE, MACHINE.name, _HOST)
    return copied(of_address, NODE, MACHINE.name, "(.+)")
