"""What a reader sees of an evaluation: grids, plots, pages, and the tables of papers."""
