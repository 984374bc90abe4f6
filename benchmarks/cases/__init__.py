"""Cases, one a file: who is compared with whom, and by which figure."""
