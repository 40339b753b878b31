"""What the doctor finds, and what it calls a gap."""

import pytest

from labkit.cli import doctor


def test_a_report_passes_unless_something_must_be_mended():
    note, fix = doctor.Finding("note", "gpu", "none"), doctor.Finding("fix", "packages", "missing torch")
    assert doctor.report((note,))["passed"] is True and doctor.report((note, fix))["passed"] is False
    row = {"level": "fix", "subject": "packages", "says": "missing torch"}
    assert doctor.report((note, fix))["findings"][1] == row and str(fix) == "fix  packages: missing torch"


@pytest.mark.parametrize(("text", "numbers"), [("2.13.0+cpu", (2, 13)), ("3.11.7", (3, 11)), ("1.0", (1, 0))])
def test_versions_are_compared_as_numbers(text, numbers):
    assert doctor._numbers(text) == numbers


def test_missing_packages_are_named(monkeypatch):
    assert doctor._missing_packages() == []
    assert doctor._installed("torch") and not doctor._installed("no-such-package-anywhere")
    monkeypatch.setattr(doctor, "_installed", lambda name: name not in ("papermill", "onnx"))
    assert sorted(doctor._missing_packages()) == ["onnx", "papermill"]


def test_a_gpu_that_torch_cannot_use_has_a_remedy(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else None)
    assert "LAB_TORCH=cuda python lab.py setup" in doctor._gpu().says
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert doctor._gpu() == doctor.Finding("note", "gpu", "none that torch can use; the course needs none")
