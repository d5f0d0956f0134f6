"""Losses, augmentation and the pure training step, for one seed, many seeds and many devices."""
