"""Tests of the lecture bench."""
