"""The script that prepares a release, on a repository of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "release"
FILES = ("pyproject.toml", "CITATION.cff", "recipe/recipe.yaml")
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the release script is not beside the tests (an sdist)")


@pytest.fixture
def repository(tmp_path):
    for name in (*FILES, ".ci/release"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.3.0 (unreleased)\n\n- New.\n\n## 0.2.0 (2020-01-02)\n")
    for arguments in (
        ("init", "--quiet", "--initial-branch", "main"), ("config", "user.name", "A"), ("config", "user.email", "a@b"),
        ("config", "commit.gpgsign", "false"), ("config", "tag.gpgsign", "false"), ("add", "."),
        ("commit", "--quiet", "--message", "Work"),
    ):  # fmt: skip
        git(tmp_path, *arguments)
    return tmp_path


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def release(folder, *arguments):
    return subprocess.run([sys.executable, folder / ".ci/release", *arguments], capture_output=True, text=True)


def test_a_release_is_committed_and_tagged(repository):
    done = release(repository, "0.3.0")
    assert done.returncode == 0, done.stderr
    assert "git push origin main v0.3.0" in done.stdout
    assert git(repository, "log", "-1", "--format=%s %D") == "Version 0.3.0 HEAD -> main, tag: v0.3.0"
    assert git(repository, "status", "--porcelain") == ""
    assert 'version = "0.3.0"\n' in (repository / "pyproject.toml").read_text()
    assert "\nversion: 0.3.0\n" in (repository / "CITATION.cff").read_text()
    assert 'version: "0.3.0"\n' in (repository / "recipe/recipe.yaml").read_text()
    assert "## 0.3.0 (20" in (repository / "CHANGELOG.md").read_text()
    assert "must begin with the heading of an unreleased version" in release(repository, "0.4.0").stderr


@pytest.mark.parametrize(
    ("version", "said"), [("0.2.0", "must be higher than 0.2.0"), ("0.3", "three numbers such as 0.2.0, got '0.3'")]
)
def test_a_wrong_version_is_refused(repository, version, said):
    assert said in release(repository, version).stderr
    assert git(repository, "status", "--porcelain") == ""


def test_a_checkout_with_changes_is_refused(repository):
    (repository / "left").touch()
    assert "a clean main" in release(repository, "0.3.0").stderr


def test_the_files_name_one_version():
    listed = {name: (ROOT / name).read_text(encoding="utf-8") for name in FILES}
    version = listed["pyproject.toml"].split('version = "')[1].split('"')[0]
    assert f"\nversion: {version}\n" in listed["CITATION.cff"]
    assert f'  version: "{version}"\n' in listed["recipe/recipe.yaml"]
