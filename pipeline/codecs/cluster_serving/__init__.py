"""The formats of Cluster Serving (Analytics Zoo, BigDL): its clients' requests, and results that they can read."""

from pipeline.codecs.cluster_serving.codec import ClusterServingCodec

__all__ = ["ClusterServingCodec"]
