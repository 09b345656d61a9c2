"""A better space to search: fitness of operators learnt with the weights (AutoSpace, Zhou et al. 2021)."""
