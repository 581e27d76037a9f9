"""Self-contained HTML reports of procedures (extra ``report``)."""
