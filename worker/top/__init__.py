"""`frontpage top`: a live terminal view of the workers, from their metrics and from Redis."""
