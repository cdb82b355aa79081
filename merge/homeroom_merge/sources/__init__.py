"""How a SIS is reached and what its rows mean: what each connector and formatter needs is loaded when one is named."""
