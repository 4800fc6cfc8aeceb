"""Who decides: the consumer records facts, emits deposit commands and takes in their results."""
