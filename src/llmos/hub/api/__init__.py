"""The HTTP surface: routes, who is asking, answers."""
