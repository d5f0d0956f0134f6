"""The command `l2s` and its doctor; training's options stand in `config.py`, those of data in `prepare`."""
