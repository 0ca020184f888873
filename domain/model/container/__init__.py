"""The container: a root filesystem, settings, and at most one running set of processes."""
