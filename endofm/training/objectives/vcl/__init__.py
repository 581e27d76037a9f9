"""VCL (Qian et al., ECCV 2022): contrast by static and dynamic concepts, the baseline of Endo-FM's comparison."""
