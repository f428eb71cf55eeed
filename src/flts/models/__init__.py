"""Model families, one per file. base.py says what a family is, registry.py finds it by name.

Other distributions can bring families through an entry point; examples/drift-model is one.
"""
