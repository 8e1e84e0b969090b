"""One file per dataset: its files in, a Protocol out."""
