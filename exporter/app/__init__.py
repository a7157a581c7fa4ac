"""Joins services with adapters, and does what the commands promise; holds no logic of a stage."""
