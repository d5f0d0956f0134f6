"""Manifests made of others."""

from l2s_jax.data.manifest import read_manifest, write_classes, write_patches


def with_rows(manifest, folder, change):
    """The rows of a manifest, changed, as another one in `folder`; None leaves a row out."""
    contents = read_manifest(manifest)
    rows = [row for row in map(change, contents.patches) if row is not None]
    write_classes(folder, contents.classes)
    write_patches(folder, contents.classes, rows)
    return folder
