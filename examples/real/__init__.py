"""Trained models and public images in one folder, for examples and tests that run on real data.

The folder holds ``models`` (safetensors, each with a JSON file that states how its images were prepared), ``cxr``,
``cxr_regions``, ``cxr14_boxes`` and ``fundus``;
docs/examples.md tells where they come from. Tests also use ``pneumoniamnist.npz``, of MedMNIST.
"""
