"""`python -m l2s_jax`: the command `l2s`, also where the folder of scripts is not on the path."""

from l2s_jax.cli.start import main

if __name__ == "__main__":
    main()
