"""The job: one request, from its acceptance to its outcome."""
