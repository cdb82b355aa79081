"""The Core's HTTP interface, said in OpenAPI 3.1."""
