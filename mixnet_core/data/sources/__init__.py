"""Sources of images: one file per source, which `data.source` in a recipe names.

    digits          inside scikit-learn: nothing to download
    fashion_mnist   IDX files: a given folder, the Debian package's, or a verified download
    image_folder    train/<class>/ and optionally val/<class>/
    imagenet        the same for ILSVRC2012's 1,000 classes, or what `mixnet prepare imagenet` made
    lists           train.csv and optionally val.csv

Each offers a `data.source.DataSource` as SOURCE; another file here is one more.
"""
