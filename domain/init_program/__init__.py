"""The init of ``--init``: a small program that docket assembles itself, so that no host has to have one (ADR 6)."""
