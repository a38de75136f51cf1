"""Warm-up: step sizes and metrics learned between draws."""
