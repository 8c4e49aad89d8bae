"""Where released files can live: a file a scheme of URIs, `file.py` for `file://`."""
