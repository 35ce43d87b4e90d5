"""Health: what people and supervisors can see of a running gateway."""
