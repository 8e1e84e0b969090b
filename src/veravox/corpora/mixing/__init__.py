"""Several protocols into training and test sets: sampled, balanced, with values held out, in folds."""
