"""The shim: one per container or exec. It owns the process's streams and end, and outlives the daemon."""
