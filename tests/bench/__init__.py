"""Throughput, measured as ratios against peers on the same broker and data, in one run."""
