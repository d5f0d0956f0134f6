"""Writes a small, valid DICOM whole-slide image with pydicom, for the findings about its readers."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

TILE = 64


def item(**attributes):
    """A dataset with these attributes, as an item of a sequence."""
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def write_level(path, pixels, mpp, series, frame_of_reference, *, number=1, resampled=False):
    """One level (u8[H,W,3], sides that are multiples of 64) as tiles in order, without compression."""
    height, width = pixels.shape[:2]
    level = Dataset()
    level.file_meta = FileMetaDataset()
    level.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    level.file_meta.MediaStorageSOPClassUID = level.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    level.file_meta.MediaStorageSOPInstanceUID = level.SOPInstanceUID = generate_uid()
    kind = ["DERIVED" if resampled else "ORIGINAL", "PRIMARY", "VOLUME", "RESAMPLED" if resampled else "NONE"]
    brightfield = item(
        CodeValue="111744", CodingSchemeDesignator="DCM", CodeMeaning="Brightfield illumination"
    )
    specimen = item(
        SpecimenIdentifier="S",
        SpecimenUID=generate_uid(),
        IssuerOfTheSpecimenIdentifierSequence=[],
        SpecimenPreparationSequence=[],
    )
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[mpp / 1000, mpp / 1000], SliceThickness=0.001)],
        WholeSlideMicroscopyImageFrameTypeSequence=[item(FrameType=kind)],
        OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="1")],
    )
    attributes = dict(
        StudyInstanceUID=frame_of_reference,
        SeriesInstanceUID=series,
        FrameOfReferenceUID=frame_of_reference,
        PositionReferenceIndicator="SLIDE_CORNER",
        Modality="SM",
        SeriesNumber=1,
        InstanceNumber=number,
        StudyID="1",
        StudyDate="20260101",
        StudyTime="000000",
        ContentDate="20260101",
        ContentTime="000000",
        AcquisitionDateTime="20260101000000",
        PatientID="P",
        PatientName="A^B",
        PatientBirthDate="",
        PatientSex="",
        AccessionNumber="",
        ReferringPhysicianName="",
        Manufacturer="M",
        ManufacturerModelName="M",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        VolumetricProperties="VOLUME",
        ImageType=kind,
        ImagedVolumeWidth=width * mpp / 1000,
        ImagedVolumeHeight=height * mpp / 1000,
        ImagedVolumeDepth=0.001,
        TotalPixelMatrixColumns=width,
        TotalPixelMatrixRows=height,
        TotalPixelMatrixFocalPlanes=1,
        TotalPixelMatrixOriginSequence=[
            item(XOffsetInSlideCoordinateSystem=10, YOffsetInSlideCoordinateSystem=20)
        ],
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        DimensionOrganizationType="TILED_FULL",
        DimensionOrganizationSequence=[item(DimensionOrganizationUID=generate_uid())],
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        Rows=TILE,
        Columns=TILE,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
        SpecimenLabelInImage="NO",
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
        AcquisitionContextSequence=[],
        ContainerIdentifier="S",
        IssuerOfTheContainerIdentifierSequence=[],
        ContainerTypeCodeSequence=[],
        SpecimenDescriptionSequence=[specimen],
        NumberOfOpticalPaths=1,
        OpticalPathSequence=[
            item(
                OpticalPathIdentifier="1",
                IlluminationTypeCodeSequence=[brightfield],
                IlluminationColorCodeSequence=[],
            )
        ],
        SharedFunctionalGroupsSequence=[shared],
        NumberOfFrames=height // TILE * (width // TILE),
    )
    for name, value in attributes.items():
        setattr(level, name, value)
    tiles = pixels.reshape(height // TILE, TILE, width // TILE, TILE, 3).swapaxes(1, 2)
    level.PixelData = np.ascontiguousarray(tiles).tobytes()
    level["PixelData"].VR = "OB"
    level.save_as(path, enforce_file_format=True)


def write_slide(folder, pixels, mpp=0.5):
    """A series of two levels, reduced by 1 and 2, as `level-1.dcm` and `level-2.dcm`."""
    series, frame_of_reference = generate_uid(), generate_uid()
    for factor in (1, 2):
        write_level(
            f"{folder}/level-{factor}.dcm",
            pixels[::factor, ::factor],
            mpp * factor,
            series,
            frame_of_reference,
            number=factor,
            resampled=factor > 1,
        )
