"""The experiments of the chapters, named after them: each takes settings and returns what was measured.

| chapter | file |
|---|---|
| 2, along a principal component ([J]'s Figure 3) | `principal_direction` |
| 9, weight movement (Figure 2) | `weight_movement`, `figure2_targets`, `figure2_choices` |
| 10, disentanglement (Figure 3) | `disentanglement`, `vae_settings` |
| 11, face attributes (Figure 4) | `face_attributes`, `vae_settings` |
| 13, asymmetrical node scaling | `asymmetrical_scaling` |
| none: a card's numbers against the CPU's | `agreement` |

Nothing is re-exported here: import from the file.
"""
