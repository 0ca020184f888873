"""The launcher: forks a shim for each start."""
