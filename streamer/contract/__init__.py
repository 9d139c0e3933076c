"""What consumers are promised: the shapes of entities and events, as structs, JSON Schemas and an AsyncAPI document."""
