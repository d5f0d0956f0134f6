"""A run from manifest to folder: plan, initial weights, pseudo-masks, the loop and its report."""
