"""The launcher: forks a shim for each start of a container."""
