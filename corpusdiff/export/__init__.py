"""From a corpus to what others read: trees of files, tars, manifests, tables. See `corpusdiff.export.export`."""
