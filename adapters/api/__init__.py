"""The Docker Engine API: requests become jobs, folded state becomes Docker's JSON."""
