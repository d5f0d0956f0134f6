"""The command line, called in this process."""

from l2s_jax.cli.app import run


def l2s(*arguments):
    """Exit code of a command; whatever leaves `run` as an exception fails the test."""
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code
