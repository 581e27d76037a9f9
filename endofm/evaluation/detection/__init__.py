"""How well boxes fit: presence per frame, matching by overlap or centre, average precision, alarms, lesions."""
