"""Which format an annotation file has, by its content; files of other tools are called by their names."""

from pathlib import Path
from typing import Literal

from l2s_jax.slides.annotations.source_file import opened
from l2s_jax.slides.annotations.xml_events import xml_events
from l2s_jax.system.errors import UserError

Kind = Literal["mask", "imagescope", "asap", "geojson"]

_XML: dict[str, Kind] = {"Annotations": "imagescope", "ASAP_Annotations": "asap"}

_OTHER_XML = {
    "annotations": "NDP.view's .ndpa by Hamamatsu, in nanometres from the middle of the slide, which is not "
    "read; import it into QuPath and export GeoJSON",
    "annotation": "LabelMe's or Pascal VOC's XML, of pictures and not of slides",
    "OME": "OME-XML; export the regions as GeoJSON",
    "svg": "an SVG drawing",
    "session": "Sedeen's session file; export the regions as GeoJSON or ImageScope XML",
}
_OTHER_STARTS = {
    b"PK\3\4": "a ZIP archive (ImageJ's RoiSet.zip is one); unpack it, or send the regions to QuPath and "
    "export GeoJSON",
    b"Iout": "ImageJ's .roi; send it to QuPath and export GeoJSON",
    b"\xac\xed\0\5": "QuPath's own .qpdata; in QuPath choose File > Export objects as GeoJSON",
    b"\xff\xd8\xff": "a JPEG, which changes the values of a mask; save it as PNG",
    b"GIF8": "a GIF; save the mask as PNG",
    b"BM": "a BMP picture; save the mask as PNG",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\xfd7zXZ": "packed with xz; unpack it",
    b"BZh": "packed with bzip2; unpack it",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it",
}
"""What the first bytes or the root element tell of files that are not read, and what to do about them."""

_EXPECTED = (
    "expected ImageScope, HALO or ASAP XML, GeoJSON (each may be packed with gzip), or a mask as PNG or TIFF"
)


def annotation_kind(path: Path) -> Kind:
    """The format of a file.

    Raises:
      UserError: it cannot be read, or is of none of the formats; others that are known are named.
    """
    with opened(path) as file:
        start = file.read(512)
    if start.startswith((b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "mask"
    text = start.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")
    if text.startswith(b"<"):
        root = next(xml_events(path), ("start", "nothing", {}))[1]
        if root in _XML:
            return _XML[root]
        what = f"it is {_OTHER_XML[root]}" if root in _OTHER_XML else f"the root element is <{root[:50]}>"
        raise UserError(
            f"{path}: {what}; expected <Annotations> (ImageScope, HALO) or <ASAP_Annotations> (ASAP)"
        )
    if text.startswith((b"{", b"[")):
        return "geojson"
    what = "no annotation file" if start else "empty"
    what = next((name for first, name in _OTHER_STARTS.items() if start.startswith(first)), what)
    raise UserError(f"{path} is {what}: {_EXPECTED}")
