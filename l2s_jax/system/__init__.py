"""What the library asks of the machine: files written whole, progress, signals, processes, devices."""
