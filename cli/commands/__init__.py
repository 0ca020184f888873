"""The commands, one file for each group; `docket.cli.registry` tells which name lives where."""
