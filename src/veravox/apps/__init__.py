"""Command line (and later HTTP API, web page): parse, call, show."""
