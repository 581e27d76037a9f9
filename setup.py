"""What setup.cfg cannot say: the kernels in C, which a compiler builds where there is one."""

import sysconfig

from setuptools import Extension, setup

# Loaded with ctypes, so no header of Python is needed and one wheel serves every version of it; builds without the
# global lock know no such wheels.
every_python = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Optional: without them the package works, only slower.
kernels = [
    Extension(
        f"endofm.kernels.{name}",
        [f"endofm/kernels/{name}.c"],
        depends=["endofm/kernels/_vectors.h"],
        extra_compile_args=["-O3"],
        py_limited_api=every_python,
        optional=True,
    )
    for name in ("_attention", "_products")
]

setup(ext_modules=kernels, options={"bdist_wheel": {"py_limited_api": "cp310"}} if every_python else {})
