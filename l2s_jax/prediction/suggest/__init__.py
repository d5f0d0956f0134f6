"""Which patch next: patches and windows of slides in the order in which a mask of each would teach most."""
