"""Measurements against peers: each figure is a ratio, both sides of it taken in turn within one run.

script/bench runs them. Nothing here is a test: a busy machine makes a figure noisy, never a run red.
"""
