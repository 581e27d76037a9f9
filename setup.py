"""Build of the C kernels, which setup.cfg cannot describe."""

import sysconfig

from setuptools import Extension, setup

# The kernels are loaded with ctypes and include no Python header, so one wheel (abi3) serves every version of Python;
# free-threaded builds of Python do not support abi3.
every_python = not sysconfig.get_config_var("Py_GIL_DISABLED")

# optional: without a C compiler the installation succeeds, and PyTorch's operators do the work more slowly.
# -O3 and no -march: the functions state their instruction sets themselves, and the processor is checked at run time.
kernels = [
    Extension(
        f"endofm.kernels.{name}",
        [f"endofm/kernels/{name}.c"],
        depends=["endofm/kernels/_vectors.h", "endofm/kernels/_attention_width.h"],
        extra_compile_args=["-O3"],
        py_limited_api=every_python,
        optional=True,
    )
    for name in ("_attention", "_linear", "_pixels", "_products")
]

setup(ext_modules=kernels, options={"bdist_wheel": {"py_limited_api": "cp310"}} if every_python else {})
