"""Dead letters: requests that were put aside byte for byte, with the reason in their headers.

``headers`` is the format, written by the connector and read here; the rest reads dead-letter topics, chooses from them,
and sends what was chosen back. docs/dead-letters.md is the guide.
"""
