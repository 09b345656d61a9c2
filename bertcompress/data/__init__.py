"""From a data source to length-bucketed batches, in the order source, prepare, tokenized, batches."""
