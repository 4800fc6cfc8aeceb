"""Who says it: producers watch Horizon and publish balance events."""
