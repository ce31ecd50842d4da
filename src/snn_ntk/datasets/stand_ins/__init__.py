"""Drawn by this package where the original data are not at hand, and never called by the original's name.

| in place of | file |
|---|---|
| CelebA | `drawn_faces` |
| Cars3D | `rendered_cars` |
"""
