"""The metrics of the field, each from scores or operating points to a number."""
