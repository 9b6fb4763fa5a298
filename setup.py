"""Build the native kernels: the C of the hot loops once per SIMD level, all else once. The rest is in pyproject.toml.

ALTERNANT_BUILD    auto (default): without a working compiler, install without native kernels and say so;
                   required: fail instead; none: don't compile.
ALTERNANT_OPENMP   auto (default): without OpenMP, compile for one thread and say so; required: fail; off: don't use.
ALTERNANT_LEVELS   the SIMD levels to build, such as avx2 or baseline,avx2; by default all that this machine's compiler
                   can build. On a CPU without any of them, Numba or NumPy is used, and alternant info says why.
CC                 the C compiler. On Windows only clang-cl is heeded; with MSVC, a fit takes up to nine times as long.
ALTERNANT_URL      where the repository is, such as https://github.com/owner/alternant: a release's metadata link to it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

# isort: split
# setuptools provides distutils, which is why it is imported first.
from distutils.ccompiler import new_compiler
from distutils.errors import CCompilerError, DistutilsError
from distutils.sysconfig import customize_compiler

KERNELS = "src/alternant/kernels"
SIMD = f"{KERNELS}/simd"
CLANG_CL = (
    Path(shutil.which(os.environ["CC"]) or os.environ["CC"]).absolute()
    if sys.platform == "win32" and "clang-cl" in os.environ.get("CC", "")
    else None
)
FAMILIES = sorted(path.stem.removesuffix("_cython") for path in Path(KERNELS).glob("*_cython.pyx"))
# A wheel for the limited API of 3.12 serves all later versions of Python. That of 3.11 has no vectorcall: the smallest
# kernels would take a fifth longer.
LIMITED_API = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 12)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
X86 = sysconfig.get_platform().endswith(("x86_64", "amd64", "universal2"))

# NaN stays NaN and sums keep their order: no -ffast-math. A wheel runs on other machines: no -march=native. Contraction
# of a * b + c is GCC's default, unless CFLAGS disable it (as -std=c11 does): these flags come after them.
FLAGS = {
    # After the user's CFLAGS, as the last flag counts: -Ofast and the like are switched off again.
    "unix": ["-O3", "-g0", "-fno-fast-math", "-fno-unsafe-math-optimizations", "-fno-finite-math-only",
             "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"],
    "msvc": ["/O2"],
}
FLAGS["clang-cl"] = [f"/clang:{flag}" for flag in FLAGS["unix"]]
# Of the Cython modules, which only convert arguments: compiled in half the time.
GLUE = {"unix": ["-O1"], "msvc": [], "clang-cl": ["/clang:-O1"]}
LEVELS = {
    "unix": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl",
                   "-mprefer-vector-width=512"],
    },
    "msvc": {"baseline": [], "avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]},
}  # fmt: skip
LEVELS["clang-cl"] = LEVELS["unix"]
STRIP = ["-s"] if sys.platform == "linux" else []
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
    # By its path: Microsoft's linker would find another library of that name, whose DLL may not be distributed.
    "clang-cl": [(["/clang:-fopenmp"], [str(CLANG_CL.parents[1] / "lib" / "libomp.lib")])] if CLANG_CL else [],
}
# Vectorized sums, also without threads.
OMP_SIMD = {"unix": ["-fopenmp-simd"], "msvc": [], "clang-cl": ["/clang:-fopenmp-simd"]}
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
    """Print a message to the user; pip shows it with -v, or if the build fails."""
    print(f"alternant: {text}", file=sys.stderr)


def kind_of(compiler):
    """Return the kind of a compiler of setuptools, which knows no clang-cl: that takes the place of MSVC's cl."""
    if compiler.compiler_type != "msvc":
        return "unix"
    if not CLANG_CL:
        return "msvc"
    if not compiler.initialized:
        compiler.initialize()
    compiler.cc = str(CLANG_CL)
    if "/GL" in compiler.compile_options:
        compiler.compile_options.remove("/GL")  # cl's optimization of a whole program
    return "clang-cl"


class Build(build_ext):
    """Compiles the C of each family for each level, then links a family's levels with its Cython module."""

    def finalize_options(self):
        """Use all cores unless told otherwise."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        """Compile in parallel, the longest first, and stop at the first error, so that it is printed last."""
        kind_of(self.compiler)
        tasks = [(extension, *level) for extension in self.extensions for level in extension.levels.items()]
        tasks.sort(key=lambda task: -Path(task[0].level_source).stat().st_size)
        with ThreadPoolExecutor(self.parallel) as pool:
            jobs = [pool.submit(self.compile_level, *task) for task in tasks]
            wait(jobs, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)  # none are left, unless one has failed
        for (extension, *_), job in zip(tasks, jobs, strict=True):
            if not job.cancelled():
                extension.extra_objects.append(job.result())
        for extension in self.extensions:
            extension.extra_objects.sort()
            extension.depends += extension.extra_objects
        super().build_extensions()

    def compile_level(self, extension, level, args):
        """Compile the C of a family for one level, unless that is up to date, and return the object file."""
        folder = str(Path(self.build_temp, level))
        (target,) = self.compiler.object_filenames([extension.level_source], output_dir=folder)
        if self.force or newer_group(extension.level_depends, target):
            self.compiler.compile(
                [extension.level_source], output_dir=folder, macros=[("ALTERNANT_LEVEL", level)],
                include_dirs=[SIMD], extra_postargs=extension.level_flags + args,
            )  # fmt: skip
        return target


class Family(Extension):
    """A family's Cython module, and its C file, which is compiled for each level."""

    def __init__(self, name, sources, levels, flags, stamp, **options):
        self.level_source = f"{SIMD}/{name}.c"
        self.levels, self.level_flags = levels, flags
        headers = headers_of(Path(self.level_source))
        self.level_depends = [self.level_source, *headers, stamp]
        super().__init__(f"alternant.kernels.{name}_cython", [*sources, f"{SIMD}/memory.c"], include_dirs=[SIMD],
                         depends=[*headers, f"{SIMD}/memory.h", stamp], **options)  # fmt: skip


def headers_of(path):
    """Return our own headers that a C file includes, directly or indirectly."""
    found, todo = set(), [path]
    while todo:
        for name in re.findall(r'#\s*include "([^"]+)"', todo.pop().read_text()):
            header = path.with_name(name)
            if header not in found:
                found.add(header)
                todo.append(header)
    return sorted(map(str, found))


class Compiler:
    """The C compiler that setuptools will use, and what it can do."""

    def __init__(self):
        self.compiler = new_compiler()
        customize_compiler(self.compiler)
        self.kind = kind_of(self.compiler)
        self.compiler.include_dirs.append(sysconfig.get_path("include"))

    def builds(self, source, compile_args=(), link_args=(), run=True):
        """Whether a program compiles, links and (unless it is for another CPU) runs successfully."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.c").write_text(source)
            program = str(Path(folder, "probe"))
            # distutils passes LDFLAGS to the linker of modules, but not to that of programs
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
        """Return the (compile, link) flags for OpenMP, or for one thread without it."""
        wanted = option("ALTERNANT_OPENMP", ("auto", "required", "off"))
        if wanted == "off":
            return self.without_openmp()
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
        return self.without_openmp()

    def without_openmp(self):
        """Return the flags for one thread."""
        flags = OMP_SIMD[self.kind]
        return (flags if self.builds(COMPILER_PROBE, flags) else []), []

    def levels(self):
        """Return the SIMD levels to build, with their flags."""
        known = LEVELS[self.kind]
        wanted = [name.strip() for name in os.environ.get("ALTERNANT_LEVELS", "").split(",") if name.strip()]
        for name in wanted:
            if name not in known:
                raise SystemExit(f"ALTERNANT_LEVELS must name levels among {', '.join(known)}, got {name!r}")
        possible = {
            level: args for level, args in known.items()
            if level == "baseline" or (X86 and self.builds(COMPILER_PROBE, args, run=False))
        }  # fmt: skip
        for name in wanted:
            if name not in possible:
                raise SystemExit(f"ALTERNANT_LEVELS={name}: this machine's compiler cannot build that level")
        return {level: args for level, args in possible.items() if not wanted or level in wanted}


def stamp_of(options):
    """Record how the modules are compiled, in a file on which all depend, so that a change recompiles them."""
    stamp = Path("build/options.txt")
    stamp.parent.mkdir(exist_ok=True)
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
    if compiler.kind == "msvc":
        say("MSVC has no vectors, so that a fit may take nine times as long: install LLVM and set CC=clang-cl")
    compile_args, link_args = compiler.openmp()
    flags, levels = FLAGS[compiler.kind] + compile_args, compiler.levels()
    # With fast math when linking, code would be added that flushes denormal numbers in the whole process.
    exact = ["-fno-fast-math", "-fno-unsafe-math-optimizations"] if compiler.kind == "unix" else []
    link_args = STRIP + link_args + exact
    stamp = stamp_of([flags, link_args, levels, sys.version,
                      [os.environ.get(name) for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")]])  # fmt: skip
    modules = [Extension(f"alternant.kernels.{name}", [f"{KERNELS}/{name}.pyx"])
               for name in ("_cpu", *(f"{family}_cython" for family in FAMILIES))]  # fmt: skip
    cpu, *glue = cythonize(modules, build_dir="build/cython", compiler_directives=DIRECTIVES)
    limited = [("Py_LIMITED_API", "0x030C0000")] if LIMITED_API else []
    options = {
        "define_macros": limited + [(f"ALTERNANT_HAS_{level.upper()}", None) for level in levels],
        "py_limited_api": LIMITED_API,
        "extra_compile_args": flags + GLUE[compiler.kind],
        "extra_link_args": link_args,
    }
    cpu = Extension(cpu.name, cpu.sources, depends=[stamp], **options)
    cpu.levels = {}
    return [cpu, *(Family(name, module.sources, levels, flags, stamp, **options)
                   for name, module in zip(FAMILIES, glue, strict=True))]  # fmt: skip


def about():
    """Return what the package index shows: README.md, its relative links made absolute if the repository is named."""
    text, url = Path("README.md").read_text(encoding="utf-8"), os.environ.get("ALTERNANT_URL", "").rstrip("/")
    if not url:
        return {"long_description": text}
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    def absolute(match):
        label, target = match.groups()
        if label is None:  # code
            return match[0]
        if not target.startswith("#"):
            target = f"/{'raw' if label.startswith('!') else 'blob'}/v{version}/{target}"
        return f"{label}({url}{target})"

    return {
        "long_description": re.sub(r"```.*?```|(!?\[[^]]*\])\((?![a-z]+:)([^)\s]+)\)", absolute, text, flags=re.DOTALL),
        "project_urls": {
            "Source": url,
            "Issues": f"{url}/issues",
            "Changelog": f"{url}/blob/v{version}/CHANGELOG.md",
        },
    }


setup(
    **about(),
    long_description_content_type="text/markdown",
    ext_modules=extensions(),
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp312"}} if LIMITED_API else {},
)
