"""Measurements, never tests: `make bench` prints every figure of docs/performance.md, and --write puts it there."""
