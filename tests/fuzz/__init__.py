"""Rules that hold for whatever people bring, tried on cases that nobody thought of.

A rule is a function of one drawn case (`searching.rule`). `make test` tries each on a few cases,
always the same; `make fuzz SECONDS=600` goes on with others until the time is up.
"""
