"""The ancestor's own clients, unmodified, in environments of their own."""
