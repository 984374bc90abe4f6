"""The HTTP front end of a job of Cluster Serving: a process of its own, which asks the job as any client does."""
