"""Somebody's own slides, with classes of their own, into a manifest."""
