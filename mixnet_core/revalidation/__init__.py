"""Measuring releases again: fetched afresh, compared with what they claim and what they reached.

states        the outcome of one release, and how it comes about
release       fetching and measuring one
history       earlier results, kept beside the releases
all_releases  every release once
weights_file  any file of weights, without a release
"""
