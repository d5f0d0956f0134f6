"""Downloaded data sets, slides and cores into manifests: where patches are cut and how they are split."""
