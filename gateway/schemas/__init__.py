"""Schemas as contracts: may documents of one version be read with another, and does a document keep its contract."""
