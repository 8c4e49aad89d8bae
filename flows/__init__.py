"""Prefect flows around `mixnet_core`: retries, parameters and the dashboard, no work of their own.

Importing this package does not import Prefect, so that `flows.demo` can choose its settings first.
"""
