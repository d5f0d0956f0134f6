"""Pictures that somebody has as patches already into a manifest."""
