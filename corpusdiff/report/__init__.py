"""A corpus on one page that opens from disk. See `corpusdiff.report.write.write_report`."""
