"""Calculated validation statuses: rules, alerts, and the processor that keeps them current."""
