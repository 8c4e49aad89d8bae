"""Measuring: exact counts over a split, and the report that holds them."""
