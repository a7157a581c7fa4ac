"""Joins the stages into an exporter, and does the work of each command.

The one place that knows both settings and components. It holds no logic of a stage.
"""
