"""Trained encoders from Python: files or arrays in, embeddings out."""
