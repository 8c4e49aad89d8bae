"""Measuring releases again: fetched afresh, compared with what they claim and what they reached.

states   the outcome of one release, and how it comes about
release  fetching and measuring one
history  what was measured before, kept beside the releases
"""
