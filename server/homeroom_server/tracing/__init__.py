"""Traces of a node's work for OpenTelemetry, where a collector is configured: what took how long, never about whom."""
