"""Evaluation: tasks, models and data become scores that can be added up, compared and signed."""
