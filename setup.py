"""Builds the native kernels: one source, once per SIMD level. Everything else is declared in pyproject.toml.

ALTERNANT_BUILD    auto (default): without a working compiler, install without native kernels and say so;
                   required: fail instead; none: don't compile.
ALTERNANT_OPENMP   auto (default): without OpenMP, compile for one thread and say so; required: fail; off: don't use.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# isort: split
# setuptools provides distutils, which is why it is imported first.
from distutils.ccompiler import new_compiler
from distutils.errors import CCompilerError, DistutilsError
from distutils.sysconfig import customize_compiler

KERNELS = "src/alternant/kernels"
SOURCES = sorted(path.stem for path in Path(KERNELS).glob("*_cython.pyx"))
X86 = sysconfig.get_platform().endswith(("x86_64", "amd64", "universal2"))

# NaN stays NaN and sums keep their order: no -ffast-math. No -march=native: a wheel runs on other machines.
FLAGS = {
    "unix": ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math"],
    "msvc": ["/O2"],
}
LEVELS = {
    "unix": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl",
                   "-mprefer-vector-width=512"],
    },
    "msvc": {"baseline": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]},
}  # fmt: skip
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}
# The first pair (compile, link) that works. Apple's clang needs the runtime from elsewhere, e.g. Homebrew's libomp.
OPENMP = {
    "unix": [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])],
    "msvc": [(["/openmp"], [])],
}
COMPILER_PROBE = """
#include <Python.h>
int main(void) { return sizeof(PyObject) > 0 ? 0 : 1; }
"""
OPENMP_PROBE = """
#include <omp.h>
int main(void) {
    int total = 0;
    #pragma omp parallel for reduction(+ : total) num_threads(2)
    for (int i = 0; i < 8; i++) total += i;
    return total == 28 && omp_get_max_threads() > 0 ? 0 : 1;
}
"""


def option(name, choices):
    """Read a build option from the environment."""
    value = os.environ.get(name) or "auto"
    if value not in choices:
        raise SystemExit(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def say(text):
    """Tell the person who installs; pip shows it with -v, or when the build fails."""
    print(f"alternant: {text}", file=sys.stderr)


class Build(build_ext):
    """Compiles the modules side by side: together they take a minute of one core."""

    def finalize_options(self):
        """Use all cores unless told otherwise."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def copy_extensions_to_source(self):
        """Make the folders of the levels, which an editable install copies into."""
        for extension in self.extensions:
            Path("src", *extension.name.split(".")[:-1]).mkdir(exist_ok=True)
        super().copy_extensions_to_source()


class Compiler:
    """The C compiler that setuptools will use, and what it can do."""

    def __init__(self):
        self.compiler = new_compiler()
        customize_compiler(self.compiler)
        self.kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        self.compiler.include_dirs.append(sysconfig.get_path("include"))

    def builds(self, source, compile_args=(), link_args=(), run=True):
        """Whether a program compiles, links and (unless it is for another CPU) runs successfully."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.c").write_text(source)
            program = str(Path(folder, "probe"))
            # distutils gives LDFLAGS to the linker of modules, not to the linker of programs
            ldflags = shlex.split(os.environ.get("LDFLAGS", ""))
            current = Path.cwd()
            os.chdir(folder)  # MSVC and some wrappers leave files in the current folder
            try:
                objects = self.compiler.compile(["probe.c"], extra_postargs=[*compile_args])
                self.compiler.link_executable(objects, program, extra_postargs=[*link_args, *ldflags])
                return not run or subprocess.run([program], check=False, timeout=60).returncode == 0
            except (CCompilerError, DistutilsError, OSError, subprocess.TimeoutExpired) as error:
                say(f"probe with {' '.join(compile_args) or 'no flags'} failed: {error}")
                return False
            finally:
                os.chdir(current)

    def openmp(self):
        """Return the (compile, link) flags that build a program which runs threads."""
        wanted = option("ALTERNANT_OPENMP", ("auto", "required", "off"))
        if wanted == "off":
            return [], []
        for flags in OPENMP[self.kind]:
            if self.builds(OPENMP_PROBE, *flags):
                return flags
        message = (
            "no OpenMP: the compiler builds no program with it. On macOS, brew install libomp and set CPPFLAGS and "
            "LDFLAGS as it says; elsewhere install the OpenMP runtime of your compiler"
        )
        if wanted == "required":
            raise SystemExit(f"alternant: {message}; or set ALTERNANT_OPENMP=auto for kernels on one thread")
        say(f"{message}. The kernels will run on one thread.")
        return [], []


def for_level(source, level):
    """Copy a C file, so that the object files of the levels do not meet in one place."""
    copy = Path(source).with_name(f"{level}_{Path(source).name}")
    shutil.copy2(source, copy)  # with its time: it is recompiled only when it has changed
    return str(copy)


def stamp_of(options):
    """Write down how the modules are compiled; all are compiled again when that has changed."""
    stamp = Path("build/cython/options.txt")
    if not stamp.exists() or stamp.read_text() != repr(options):
        stamp.write_text(repr(options))
    return str(stamp)


def extensions():
    """Return the native modules to build: none if there is no compiler or none is wanted."""
    wanted = option("ALTERNANT_BUILD", ("auto", "required", "none"))
    if wanted == "none":
        return []
    compiler = Compiler()
    if not compiler.builds(COMPILER_PROBE):
        message = "no working C compiler with the headers of Python"
        if wanted == "required":
            raise SystemExit(f"alternant: {message}; install them (Debian: apt install gcc python3-dev), or set "
                             "ALTERNANT_BUILD=auto to install without native kernels")  # fmt: skip
        say(f"{message}: installing without native kernels. alternant will run on Numba if that is installed, "
            "else on NumPy, many times slower.")  # fmt: skip
        return []
    compile_args, link_args = compiler.openmp()
    flags = FLAGS[compiler.kind] + compile_args
    levels = {
        level: args for level, args in LEVELS[compiler.kind].items()
        if level == "baseline" or (X86 and compiler.builds(COMPILER_PROBE, args, run=False))
    }  # fmt: skip
    modules = [Extension(f"alternant.kernels.{name}", [f"{KERNELS}/{name}.pyx"]) for name in (*SOURCES, "_cpu")]
    cythonized = cythonize(modules, build_dir="build/cython", compiler_directives=DIRECTIVES)
    sources = {extension.name.split(".")[-1]: extension.sources for extension in cythonized}
    stamp = stamp_of([flags, link_args, levels, sys.version,
                      [os.environ.get(name) for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")]])  # fmt: skip
    built = [Extension("alternant.kernels._cpu", sources["_cpu"], extra_compile_args=FLAGS[compiler.kind])]
    for level, args in levels.items():
        built += [
            Extension(f"alternant.kernels._{level}.{name}", [for_level(source, level) for source in sources[name]],
                      include_dirs=[KERNELS],
                      depends=[*map(str, Path(KERNELS).glob("*.h")), stamp],
                      extra_compile_args=flags + args, extra_link_args=link_args)
            for name in SOURCES
        ]  # fmt: skip
    return built


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
