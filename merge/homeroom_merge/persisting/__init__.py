"""A plan carried out: hub before SIS, through the journal, the base record by record."""
