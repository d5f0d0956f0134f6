"""What a run begins from and leaves on disk: published weights, folder, checkpoints, events, network."""
