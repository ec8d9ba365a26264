"""The Hugging Face protocol: what huggingface_hub, transformers, datasets and `hf` ask."""
