"""Training: objectives, optimisers, schedules, the loop."""
