"""The client over Kafka."""
