"""Where files lie that mark areas of slides, as options name it: light, since help imports it."""

from pathlib import Path
from typing import Literal, NamedTuple

from l2s_jax.system.errors import UserError


class AreaFolders(NamedTuple):
    """Folders with a file for each slide, and what in those files is meant."""

    within: Path | None = None  # of what is to be kept
    within_only: tuple[str, ...] = ()  # classes or values that are; others are not
    exclude: Path | None = None  # of what is to be left out
    exclude_only: tuple[str, ...] = ()
    areas_from: Literal["bounds", "whole"] | None = None  # where outlines count from, see `areas.read_areas`


def require_named(folders: AreaFolders) -> None:
    """Raises `UserError` where something is said of files without a folder in which they are."""
    for option, folder, only in (
        ("--within", folders.within, folders.within_only),
        ("--exclude", folders.exclude, folders.exclude_only),
    ):
        if only and folder is None:
            raise UserError(
                f"{option}-only says what is meant in the files of a folder: give {option} FOLDER"
            )
    if folders.areas_from is not None and folders.within is None and folders.exclude is None:
        raise UserError(
            f"--areas-from {folders.areas_from} says where the files of a folder count from: give --within "
            "FOLDER or --exclude FOLDER"
        )
