"""Storages of released files: one file per scheme of URIs, `file.py` for `file://`."""
