"""Everything that speaks to Kafka, over aiokafka; the only place that imports it."""
