"""Small synthetic stories told in four languages from one world: see `stories.py`."""
