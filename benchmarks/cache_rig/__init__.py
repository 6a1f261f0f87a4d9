"""Parts of the cache's benchmark: a stream of questions whose meanings are known."""
