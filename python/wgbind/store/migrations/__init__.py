"""The store's schema, step by step (Alembic); `schema.HEAD` names the newest step.

A new step is a file in `versions`, numbered on; those that were released never change.
"""
