"""The `hpt` command: one file a verb."""
