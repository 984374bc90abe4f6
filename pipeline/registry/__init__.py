"""The versioned registry: which versions are loaded, and who may use them. It knows no broker and no framework."""
