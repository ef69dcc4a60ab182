"""An installed package, as its entry points see it."""

from pathlib import Path


def install(site: Path, name: str, code: str, entry_points: str) -> Path:
    """Put a package of one module and its lines of registration into a folder for PYTHONPATH; the folder."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    return site
