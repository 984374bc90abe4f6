"""The pages of a worker, hosted by Faust's web server."""
