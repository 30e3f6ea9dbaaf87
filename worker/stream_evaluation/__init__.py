"""Measure recommenders on reading sets: protocols, figures, baselines, report."""
