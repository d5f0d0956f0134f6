"""What tests share: data that they draw, work that other processes import, small calls."""
