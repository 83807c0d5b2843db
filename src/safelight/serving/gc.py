"""Keeps Python's garbage collector from halting a process that answers."""

import gc


def spare_what_stands() -> None:
    """Have the collector leave alone, from now on, all that exists now.

    A full collection looks through every object of every library: some 60 ms, every two seconds
    under load, in which nothing is answered. What start-up made stays until the end anyway.
    """
    gc.collect()
    gc.freeze()
