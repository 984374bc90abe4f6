"""``penstock demo``: real handwritten digits, a real worker process, and two new versions in mid-stream.

``digits`` trains and exports, ``broker`` and ``stage`` start what a user would start, ``stream`` sends and collects,
``report`` counts, ``show`` prints, and ``run`` is the play itself. scikit-learn and OpenVINO are imported on use, so
that ``penstock --help`` does not wait for them.
"""
