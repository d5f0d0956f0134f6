"""The command `l2s` and its doctor."""
