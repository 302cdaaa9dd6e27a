"""Weights in and out of run folders."""
