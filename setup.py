"""What setup.cfg cannot say: the attention kernels, which a C compiler builds where there is one."""

import sysconfig

from setuptools import Extension, setup

# Loaded with ctypes, so no header of Python is needed and one wheel serves every version of it; builds without the
# global lock know no such wheels.
every_python = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Optional: without it the package works, only slower.
kernels = Extension(
    "endofm.layers._attention",
    ["endofm/layers/_attention.c"],
    extra_compile_args=["-O3"],
    py_limited_api=every_python,
    optional=True,
)

setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp310"}} if every_python else {})
