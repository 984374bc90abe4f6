"""The kinds of servables: one source adapter per file, each importing its framework when it loads, not before."""
