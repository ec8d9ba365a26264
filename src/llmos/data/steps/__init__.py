"""Steps of the preparation: each gives a document back, changed or not, or drops it."""
