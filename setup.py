"""Puts data/ and notebooks/ into a wheel, as labkit/shipped; the rest is in pyproject.toml.

An editable install reads them where they are.
"""

from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCourse(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib, "labkit", "shipped")
        rmtree(shipped, ignore_errors=True)  # an earlier build's
        for folder in ("data", "notebooks"):
            copytree(folder, shipped / folder, ignore=ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithCourse})
