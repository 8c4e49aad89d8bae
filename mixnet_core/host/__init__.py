"""What this machine is and has, read from its kernel, its files and its tools; judged in `stages`.

Nothing here imports MindSpore, and nothing is changed but small files that are removed again.
"""
