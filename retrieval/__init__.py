"""Finding old impressions.

    pool          older periods as immutable segments: what a search may return
    retriever     what every retriever has in common: one search, bounded in time
    field_match   RIM: the rows that share the most telling fields with the query, exact
    dense         the rows whose vectors are most alike (FAISS)
    user          SIM and UBR: the user's own old behaviours
    indexed_pool  a pool and the indexes on it that models ask for
    models/       click models that read what was found: RIM, DERT, PET, SIM, UBR

A retriever is built on a pool, takes in its new periods with `extend`, and answers `search(queries, k, until=...)`;
`pool.take(found.rows_BK)` gives the rows as a batch.
"""
