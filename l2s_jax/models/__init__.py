"""The network: Flax stays inside this folder."""
