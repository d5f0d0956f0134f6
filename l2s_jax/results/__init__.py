"""What the runs of a sweep say together: tables, figures, differences. Host code: NumPy and pandas."""
