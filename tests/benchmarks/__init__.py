"""Benchmarks: plain scripts that print what they measured; no test runs them."""
