"""Where released files can live: one file per scheme of URIs, `file.py` for `file://`."""
