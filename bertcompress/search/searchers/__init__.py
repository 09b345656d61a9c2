"""The searchers, one a file; search.SEARCHERS names them."""
