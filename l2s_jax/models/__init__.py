"""The network and its weights' names; Flax stays here, and nothing touches files."""
