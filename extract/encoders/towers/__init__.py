"""Audio towers: the speech encoders inside larger models, with inputs made by their own extractor.

`table` lists them, `features` makes their input, `loading` finds their tensors in a checkpoint and
`tower_run` gives their layers. One clip runs at a time, so a row cannot depend on its neighbours.
"""
