"""Learn to segment histology from a few pixel masks and many image-level labels.

The verbs, importable from here without importing what they need until they are used:

  prepare_slides, prepare_patches, prepare_phantom, prepare_ebhi, prepare_wsss4luad, prepare_bach,
  prepare_gleason, prepare_digestpath
                                  a data set becomes a manifest; BACH_PRESETS and others have their options
  pretrain                        pictures that nobody labelled become an encoder, for train's weights
  train                           a manifest becomes a run folder
  train_many, train_together      several run folders, trained as one program
  evaluate                        a run's figures on one split of a manifest
  calibrate                       a run's probabilities are made to mean what they say
  predict                         pictures become class maps
  review, prepare_reviewed        labels and masks that may be wrong, slides in doubt; a manifest without
  suggest                         which patch to draw next

and, for experiments of many runs: sweep, compare, report, aggregate, plan_masks.

`__init__.pyi` says where each name comes from, for editors and type checkers as for the lazy import here.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
