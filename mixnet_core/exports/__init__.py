"""Files that others' runtimes load: each written from a release, then proven to predict as it does.

formats             a file each: what is written, and the runtime that loads it again
making              writes and proves formats, each in a process of its own
proof               one format's predictions beside the release's
metadata            what a file says of itself: classes, how images are read, where it came from
snippet             the few lines that classify a picture with onnxruntime alone
"""
