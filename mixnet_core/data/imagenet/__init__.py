"""ImageNet-1k (ILSVRC2012): its classes, and its archives turned into a folder of images."""
