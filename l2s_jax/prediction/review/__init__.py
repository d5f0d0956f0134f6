"""Which label is wrong: labels and masks beside what networks say that never saw their patient."""
