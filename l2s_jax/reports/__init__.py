"""What many runs say together: tables, curves, differences, how many masks are needed."""
