"""Random changes of training images: drawn with numpy, then applied with OpenCV.

randomness      one generator per image and per batch: nothing depends on threads or on resuming
rand_augment    RandAugment's operations and their arguments
draws           all that is random of one image, as a value
applying        a decoded image and that value -> the changed one
colours         RandAugment's operations on colours
geometry        and those that move pixels
mix             mixup, cutmix and soft targets of a batch
making          all of that for a batch, in a pool of threads

Drawing knows no pixels and applying draws nothing, so either can be replaced alone.
"""
