"""The two control topics: by aspired versions a version rolls out, by servable states the fleet is seen.

Both are compacted: the last record of a key is the truth, and reading a topic from its beginning is always enough.
Readers belong to no consumer group, so every worker sees every record.
"""
