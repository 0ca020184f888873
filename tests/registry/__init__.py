"""Registries for tests: Debian's, run on loopback, and one of the tests' own that does everything wrong."""
