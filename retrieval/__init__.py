"""Finding old impressions. Empty so far: a later issue brings the pool, its indexes and the retrievers."""
