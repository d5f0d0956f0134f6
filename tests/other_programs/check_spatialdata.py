"""Outlines of a predicted slide in GeoPandas and SpatialData: do they cover what the class map covers?

  python check_spatialdata.py FOLDER

Holds the areas of all classes to the class map's pixels, and the class of each cell to the pixel that it
lies in. Cells lie at pixels' middles, so that none is on an outline. The slide is predicted with outlines
along pixels, so both are equal but for rounding.
"""

import json
import sys
from pathlib import Path

import geopandas
import numpy as np
import spatialdata
import tifffile
from spatialdata.models import ShapesModel

GROUND = 0
AREA_TOLERANCE = 1e-9  # relative; corners are whole pixels of level 0


def main(folder):
    predicted = folder / "predicted_exact"
    facts = json.loads((predicted / "A04.json").read_text())
    codes = tifffile.imread(predicted / "A04.ome.tif")
    factor = facts["mpp"] / facts["slide_mpp"][0]

    outlines = json.loads((predicted / "A04.geojson").read_text())
    areas = geopandas.GeoDataFrame.from_features(outlines["features"])
    areas["class"] = [found["name"] for found in areas["classification"]]
    assert areas.crs is None and areas.is_valid.all()
    holes = sum(len(one.interiors) for one in areas.geometry)
    assert holes, "no outline has a hole: nothing is shown about holes"
    of_classes = areas.dissolve("class").area
    names = facts["classes"]
    for code, name in enumerate(names):
        if code != GROUND:
            drawn, counted = of_classes.get(name, 0.0) / factor**2, int((codes == code).sum())
            assert abs(drawn - counted) <= AREA_TOLERANCE * max(counted, 1), (name, drawn, counted)
    print(f"{len(areas)} areas with {holes} holes cover as many pixels as the class map")

    rows, columns = (place.ravel() for place in np.indices(codes.shape))
    x, y = (columns + 0.5) * factor, (rows + 0.5) * factor
    cells = geopandas.GeoDataFrame({"cell": range(len(x))}, geometry=geopandas.points_from_xy(x, y))
    slide = spatialdata.SpatialData(shapes={"regions": ShapesModel.parse(areas[["geometry", "class"]])})
    slide.write(folder / "slide.zarr", overwrite=True)
    regions = spatialdata.read_zarr(folder / "slide.zarr").shapes["regions"]
    found = cells.sjoin(regions, how="left", predicate="within")
    assert len(found) == len(cells), "a cell lies in two areas"
    seen = found["class"].fillna(names[GROUND]).to_numpy()
    different = int((seen != np.array(names)[codes.ravel()]).sum())
    assert not different, different
    print(f"{len(cells)} cells have the class of their pixel, after writing and reading in SpatialData")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
