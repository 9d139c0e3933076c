"""What stands in for the outside world on one machine: the simulator, a real Apache Kafka, the demo."""
