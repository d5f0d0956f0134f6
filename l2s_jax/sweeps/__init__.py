"""An experiment of many runs: file, plan, jobs, one row a finished run."""
