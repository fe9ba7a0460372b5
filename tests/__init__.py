"""Tests of server.py: run `python -m unittest` in the folder above."""
