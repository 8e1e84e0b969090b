"""Analysis of the loss around a detector's weights: sharpness, landscapes, correlation with error rates."""
