"""What holds for a feed: named states as one TOML file, read for people, versioned."""
