"""Drawn regions: read from the formats of other tools, painted as masks, traced from masks, written back.

`read_annotations` reads ImageScope XML, ASAP XML, GeoJSON and mask pictures; `paint` makes a mask of them at
any scale; `polygons_from_mask` goes the other way; `write_geojson` and `write_imagescope_xml` hand them on.
"""

from l2s_jax.data.annotations.class_names import BACH_CLASSES as BACH_CLASSES
from l2s_jax.data.annotations.class_names import ClassTable as ClassTable
from l2s_jax.data.annotations.class_names import bach_table as bach_table
from l2s_jax.data.annotations.class_names import class_table as class_table
from l2s_jax.data.annotations.painting import paint as paint
from l2s_jax.data.annotations.reading import read_annotations as read_annotations
from l2s_jax.data.annotations.reading import stated_mpp as stated_mpp
from l2s_jax.data.annotations.tracing import polygons_from_mask as polygons_from_mask
from l2s_jax.data.annotations.types import Annotations as Annotations
from l2s_jax.data.annotations.types import Region as Region
from l2s_jax.data.annotations.types import summary as summary
from l2s_jax.data.annotations.writing import write_geojson as write_geojson
from l2s_jax.data.annotations.writing import write_imagescope_xml as write_imagescope_xml
