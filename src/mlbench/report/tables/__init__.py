"""From records to tables: text in cells, nothing drawn yet."""
