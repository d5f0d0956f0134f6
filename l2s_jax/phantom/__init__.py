"""Drawn tissue with known masks: patches and slides for demonstrations and tests."""
