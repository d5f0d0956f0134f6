"""Contrastive pretraining of the encoder on pictures that nobody labelled."""
