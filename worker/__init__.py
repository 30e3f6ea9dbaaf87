"""Consume clicks, keep every reader's profile and front page current."""
