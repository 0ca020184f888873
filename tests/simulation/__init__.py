"""Deterministic simulation: the whole engine on the fake kernel, a simulated disk and trio's mock clock, driven by one seed.

    life.py         one life of an engine: its crash points, and ports that do nothing once it is over
    disk.py         what is left of the log after a crash, and a store that becomes durable some time later
    ports.py        the other ports of a life
    world.py        kernel and disk, which outlive engines; one life after the other
    invariants.py   what holds after every step and at the end
    scenarios.py    what users do, for the crash matrix and the errno matrix
    histories.py    random histories from a seed
    matrix.py       every scenario, crashed at every point
    errnos.py       every operation, failing in every way

``python -m tests.simulation`` runs them; see ``--help``.
"""
