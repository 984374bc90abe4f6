"""A version in a process of its own: what crashes, hangs or is killed there costs its own requests alone."""
