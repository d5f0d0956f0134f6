"""Whole-slide DICOM files of known pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def write_dicom(
    path: Path,
    image: np.ndarray,
    *,
    kind: str = "VOLUME",
    series: str,
    mpp: float = 0.5,
    tile: int = 128,
    coded: tuple[str, Callable[[np.ndarray], bytes]] | None = None,
    photometric: str = "RGB",
    optical_paths: int = 1,
) -> Path:
    """One file of a DICOM slide: VL Whole Slide Microscopy.

    Args:
      path: the file.
      image: uint8[H,W,3].
      kind: third value of ImageType: VOLUME for a level, LABEL, OVERVIEW or THUMBNAIL.
      series: SeriesInstanceUID, which the files of a slide share.
      mpp: um/px.
      tile: side of the frames.
      coded: transfer syntax, and what makes a frame's bytes of its pixels; None: not compressed.
      photometric: what the tag says of the frames' colours, right or wrong.
      optical_paths: each with all of the frames.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % tile), (0, -width % tile), (0, 0)), constant_values=255)
    frames = [
        padded[row : row + tile, col : col + tile]
        for row in range(0, height, tile)
        for col in range(0, width, tile)
    ]
    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.MediaStorageSOPClassUID = content.SOPClassUID = _SLIDE_IMAGE
    content.file_meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID = generate_uid()
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if coded is None else coded[0]
    content.StudyInstanceUID, content.SeriesInstanceUID = "1.2.3", series
    content.Modality, content.PatientID, content.PatientName = "SM", "p", "p"
    content.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    content.TotalPixelMatrixRows, content.TotalPixelMatrixColumns = height, width
    content.TotalPixelMatrixFocalPlanes = 1
    content.Rows = content.Columns = tile
    frames *= optical_paths
    content.NumberOfFrames, content.NumberOfOpticalPaths = len(frames), optical_paths
    content.SamplesPerPixel, content.PhotometricInterpretation = 3, photometric
    content.PlanarConfiguration = 0
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 8, 8, 7, 0
    content.DimensionOrganizationType = "TILED_FULL"
    measures, shared, optical = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000] * 2, 0.001
    shared.PixelMeasuresSequence = [measures]
    content.SharedFunctionalGroupsSequence = [shared]
    optical.OpticalPathIdentifier = "1"
    content.OpticalPathSequence = [optical]
    for number in range(1, optical_paths):
        content.OpticalPathSequence.append(Dataset())
        content.OpticalPathSequence[number].OpticalPathIdentifier = str(number + 1)
    content.ImagedVolumeWidth, content.ImagedVolumeHeight = width * mpp / 1000, height * mpp / 1000
    if coded is None:
        content.PixelData = b"".join(frame.tobytes() for frame in frames)
    else:
        content.PixelData = encapsulate([coded[1](frame) for frame in frames])
    path.parent.mkdir(parents=True, exist_ok=True)
    content.save_as(path, enforce_file_format=True)
    return path
