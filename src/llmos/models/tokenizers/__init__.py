"""What a tokenizer needs beyond byte-level BPE: other algorithms, fairness, noise, measuring."""
