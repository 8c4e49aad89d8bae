"""Formats of exports: one file for each name of `--to`; see `exports.export_format`."""
