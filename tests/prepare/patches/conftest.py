"""A folder of patches as somebody has it."""

from pathlib import Path

import pytest

from helpers.own_patches import CLASSES, half, picture
from l2s_jax.data.pictures import write_png


@pytest.fixture
def folder(tmp_path) -> Path:
    """pictures/CLASS/pN_K.png of 6 patients, 2 of each class; masks/pN_1.png."""
    for patient in range(6):
        for number in (1, 2):
            for code, name in enumerate(CLASSES):
                stem = f"p{patient}_{number}{name[0]}"
                seed = 100 * patient + 10 * number + code
                write_png(tmp_path / "pictures" / name / f"{stem}.png", picture(seed))
                if number == 1:
                    write_png(
                        tmp_path / "masks" / f"{stem}_mask.png", half() if code else half(values=(0, 0))
                    )
    return tmp_path
