"""Who does not want their text to be trained on: lists of addresses, and taking text out again."""
