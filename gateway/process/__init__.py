"""The deterministic machine between journal and batch: route, filter, sample, aggregate. Pure."""
