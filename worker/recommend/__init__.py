"""What to recommend: statistics shared by all readers, and the pipeline from them to a page."""
