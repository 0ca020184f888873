"""Reading what the shims wrote of containers' output."""
