"""From a dataset's files to rows: recognise its layout, list its audio, read its keys, put a Protocol together."""
