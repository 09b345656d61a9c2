"""What is learnt: columns, labels, losses and metrics of each task."""
