"""What setup.cfg cannot say: the attention kernels, which a C compiler builds where there is one."""

from setuptools import Extension, setup

# Loaded with ctypes, so no header of Python is needed. Optional: without it the package works, only slower.
KERNELS = Extension(
    "endofm.layers._attention", ["endofm/layers/_attention.c"], extra_compile_args=["-O3"], optional=True
)

setup(ext_modules=[KERNELS])
