"""The shim, one per container: it owns streams and ends of the first process and of execs, and outlives the daemon."""
