"""What a member never wants to be trained on: its own patterns."""
