"""The contracts every part of frontpage, and everyone outside it, shares.

One room per contract:

- `schemas.records`: the messages (frozen msgspec records, JSON on the wire)
- `schemas.decode`: bytes to records, with a reason when they are bad
- `schemas.metarank`: Metarank's `item` and `interaction` events as input
- `schemas.topics`, `schemas.keys`: names in Kafka and Redis
- `schemas.history`: the packed click history kept in Redis
- `schemas.bundle`, `schemas.tokenizer`: the model bundle
- `schemas.profile_store`: a client for services that read profiles and pages from Redis
- `schemas.reading_set`: the one data format for training and replay
"""
