"""What readers of slides see of class maps: levels, scale, and whether pixels are codes, colours or mixtures.

  python check_viewers.py FOLDER

Prints the table of docs/whole_slides.md: levels, um/px, pixels of level 0, pixels at a fourth of its
width. Ends with 1 where a reader that opens the grey map sees anything but codes.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile

FILES = {"class map": "map.ome.tif", "grey map": "map_codes.tif"}


def with_openslide(path):
    import openslide

    slide = openslide.OpenSlide(str(path))
    mpp = slide.properties.get("openslide.mpp-x")
    size = slide.dimensions
    whole = np.asarray(slide.read_region((0, 0), 0, size).convert("RGB"))
    small = np.asarray(slide.get_thumbnail((size[0] // 4, size[1] // 4)))
    return slide.level_count, mpp, whole, small


def with_tiffslide(path):
    import tiffslide

    slide = tiffslide.TiffSlide(str(path))
    whole = np.asarray(slide.read_region((0, 0), 0, slide.dimensions, as_array=True))
    small = np.asarray(
        slide.read_region((0, 0), slide.level_count - 1, slide.level_dimensions[-1], as_array=True)
    )
    return slide.level_count, slide.properties.get("tiffslide.mpp-x"), whole, small


def with_large_image(source):
    def read(path):
        import large_image

        module = __import__(f"large_image_source_{source}")
        slide = module.open(str(path))
        found = slide.getMetadata()
        scale = found["mm_x"] and found["mm_x"] * 1000
        whole, _ = slide.getRegion(format=large_image.constants.TILE_FORMAT_NUMPY)
        width = found["sizeX"] // 4
        small, _ = slide.getRegion(output={"maxWidth": width}, format=large_image.constants.TILE_FORMAT_NUMPY)
        return found["levels"], scale, np.asarray(whole), np.asarray(small)

    return read


def with_rasterio(path):
    import rasterio

    with rasterio.open(path) as raster:
        whole = np.moveaxis(raster.read(), 0, -1)
        shape = (raster.count, max(1, raster.height // 4), max(1, raster.width // 4))
        small = np.moveaxis(raster.read(out_shape=shape), 0, -1)
        return 1 + len(raster.overviews(1)), None, whole, small


def with_napari(path):
    from napari_tiff.napari_tiff_reader import napari_get_reader

    data, *more = napari_get_reader(str(path))(str(path))[0]
    levels = data if isinstance(data, list | tuple) else [data]
    scale = more[0].get("scale") if more else None
    return len(levels), scale and scale[-1], np.asarray(levels[0]), np.asarray(levels[-1])


READERS = {
    "OpenSlide": ("openslide-bin", with_openslide),
    "tiffslide": ("tiffslide", with_tiffslide),
    "large-image, tifffile": ("large-image-source-tifffile", with_large_image("tifffile")),
    "large-image, tiff": ("large-image-source-tiff", with_large_image("tiff")),
    "large-image, ometiff": ("large-image-source-ometiff", with_large_image("ometiff")),
    "large-image, openslide": ("large-image-source-openslide", with_large_image("openslide")),
    "napari": ("napari-tiff", with_napari),
    "rasterio (GDAL)": ("rasterio", with_rasterio),
}


def what(pixels, codes, palette):
    """Whether pixels are codes, the colours of codes, or hold others."""
    pixels = pixels.reshape(-1, pixels.shape[-1]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    pixels = pixels[:, :3] if pixels.shape[1] > 2 else pixels[:, :1]
    packed = np.unique(pixels.astype(np.int64) @ 256 ** np.arange(pixels.shape[1]))
    seen = {tuple(int(one) // 256**place % 256 for place in range(pixels.shape[1])) for one in packed}
    if seen <= {(int(code),) for code in codes} or seen <= {(int(code),) * 3 for code in codes}:
        return "codes"
    if seen <= {tuple(palette[code]) for code in codes}:
        return "colours"
    return f"{len(seen)} values, of {len(codes)} classes"


def main(folder):
    good = True
    for form, name in FILES.items():
        path = folder / "maps" / name
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            codes = np.unique(page.asarray())
            palette = [] if page.colormap is None else (page.colormap.T // 257).tolist()
        for reader, (package, read) in READERS.items():
            try:
                levels, scale, *pixels = read(path)
                seen = [what(one, codes, palette) for one in pixels]
                answer = f"{levels} | {scale or 'none'} | {' | '.join(seen)}"
            except Exception as error:  # whatever they raise is what a user sees
                answer = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            else:
                good &= form != "grey map" or seen == ["codes", "codes"]
            print(f"| {form} | {reader} {version(package)} | {answer} |")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
