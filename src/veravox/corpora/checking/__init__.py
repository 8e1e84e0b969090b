"""Is a protocol fit to train and test on: leaks between sets, doubled or damaged audio, tell-tale properties."""
