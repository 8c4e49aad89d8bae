"""What acceptance may demand besides min_top1, min_top5 and replaces: one file per key of the
recipe's acceptance section; see `stages.demand`.
"""
