"""DICOM slides: a file, a folder, and the folders that are none."""

import pickle
import shutil

import numpy as np
import pytest

from helpers.dicom_slides import write_dicom
from helpers.slide_generator import smooth_picture
from l2s_jax.slides.reading import read_region
from l2s_jax.slides.slide import is_slide, open_slide
from l2s_jax.system.errors import UserError

IMAGE = smooth_picture(512, 768)
SMALL = IMAGE[:128, :128]


def write_slide(folder, series="1.2.3.4", names=("a.dcm", "b.dcm", "label.dcm")):
    write_dicom(folder / names[0], IMAGE, series=series)
    write_dicom(folder / names[1], IMAGE[::4, ::4].copy(), series=series, mpp=2.0)
    write_dicom(folder / names[2], SMALL, kind="LABEL", series=series)
    return folder


def test_every_file_and_the_folder_are_the_same_slide(tmp_path):
    folder = write_slide(tmp_path / "one")
    slides = [open_slide(path) for path in (folder, *sorted(folder.iterdir()))]
    for slide in slides:
        assert slide.vendor == "dicom" and slide.mpp == (0.5, 0.5)
        assert slide.level_sizes == ((512, 768), (128, 192))
        np.testing.assert_array_equal(read_region(slide, (0, 0), (512, 768), 0.5), IMAGE)
    assert len({slide.fingerprint for slide in slides}) == 1 and slides[0].fingerprint
    assert slides[0].path == folder and is_slide(folder)
    again = pickle.loads(pickle.dumps(slides[0]))
    np.testing.assert_array_equal(read_region(again, (0, 0), (64, 64), 0.5), IMAGE[:64, :64])


def test_names_without_a_suffix(tmp_path):
    folder = write_slide(tmp_path / "one", names=("I1", "I2", "I3"))
    (folder / "notes.txt").write_text("hello")
    assert open_slide(folder).size_level0 == (512, 768)


def test_other_slides_have_other_fingerprints(tmp_path):
    one, two = write_slide(tmp_path / "one"), write_slide(tmp_path / "two", "1.2.3.5")
    shutil.copytree(one, tmp_path / "copy")
    assert open_slide(one).fingerprint == open_slide(tmp_path / "copy").fingerprint
    assert open_slide(one).fingerprint != open_slide(two).fingerprint


def test_the_folder_of_a_study_with_two_slides(tmp_path):
    write_slide(tmp_path / "study")
    write_slide(tmp_path / "study", "1.2.3.5", ("x.dcm", "y.dcm", "z.dcm"))
    with pytest.raises(UserError, match=r"study holds 2 DICOM slides.*a\.dcm, x\.dcm"):
        open_slide(tmp_path / "study")
    assert open_slide(tmp_path / "study/x.dcm").size_level0 == (512, 768)


def test_label_and_overview_alone(tmp_path):
    for kind in ("LABEL", "OVERVIEW", "THUMBNAIL"):
        path = write_dicom(tmp_path / kind / "a.dcm", SMALL, kind=kind, series="1.2.3.4")
        for named in (path, path.parent):
            with pytest.raises(UserError, match="label, overview or thumbnail.*VOLUME") as caught:
                open_slide(named)
            assert str(named) in str(caught.value)


def test_several_optical_paths_of_which_one_would_be_shown(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", IMAGE, series="1.2.3.4", optical_paths=2)
    with pytest.raises(UserError, match=r"a\.dcm: it holds 2 optical paths.*only the first"):
        open_slide(path)


def test_a_damaged_file_that_is_none_of_the_slide_does_not_matter(tmp_path):
    folder = write_slide(tmp_path / "one")
    other = write_dicom(folder / "other.dcm", IMAGE, series="1.2.3.5")
    other.write_bytes(other.read_bytes()[:200])
    (folder / "mark.dcm").write_bytes(bytes(128) + b"DICM" + b"x" * 50)
    assert open_slide(folder / "a.dcm").level_sizes == ((512, 768), (128, 192))


def test_folders_without_dicom_and_with_damage(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is not a file.*no DICOM file"):
        open_slide(tmp_path / "empty")
    assert not is_slide(tmp_path / "empty")
    path = write_dicom(tmp_path / "cut" / "a.dcm", IMAGE, series="1.2.3.4")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match=r"cut holds DICOM files.*a\.dcm"):
        open_slide(tmp_path / "cut")
