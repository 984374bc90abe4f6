"""Storage path sources: they find versions in storage and aspire to some. They know no servable and no broker."""
