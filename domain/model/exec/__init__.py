"""The exec instance: one more process in a running container."""
