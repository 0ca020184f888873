"""The host as it is, for checks against the log."""
