"""The command `l2s` and its doctor; options of training are those of `config.py`, of data those of `prepare`."""
