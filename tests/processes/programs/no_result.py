"""Ends well without leaving a result: it is no stage."""
