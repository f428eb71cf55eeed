"""The zoo: one family per file, all of one shape (base.py), all known to registry.py.

Other distributions add to it by an entry point; examples/drift-model is such a distribution.
"""
