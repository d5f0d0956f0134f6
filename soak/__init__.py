"""A soak: commands killed at random moments, readers fed with damaged files, machines that lack room."""
