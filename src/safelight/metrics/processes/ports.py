"""The ports on which a process listens: all workers of a server listen on the same one."""

import psutil


def listening(pid: int) -> set[int]:
    """Return the ports on which a process listens; none if it may not be asked."""
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.Error:
        return set()
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
