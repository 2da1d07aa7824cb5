"""Sound quality against what people use today: material, judges, peers, and one module for each table."""
