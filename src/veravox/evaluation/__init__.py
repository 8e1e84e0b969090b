"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""
