"""Kernel work as data: operations, and the pure functions that build plans from what a container is asked to be."""
