"""What every process of ours needs to run: its environment, its logs, its health page, its Kafka clients."""
