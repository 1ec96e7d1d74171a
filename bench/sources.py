"""Fingerprints of the sources that a measurement belongs to; cmake/source_hash.cmake builds the same into the library."""
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"kernels": ("engine", "ops"), "step": ("engine", "ops", "model")}


def fingerprint(kind, root=ROOT):
    """16 hex digits over engine and ops ("kernels"), and the model too ("step")."""
    files = [p.relative_to(root).as_posix() for folder in FOLDERS[kind] for p in (root / folder).rglob("*")
             if p.suffix in (".cpp", ".h", ".cu", ".def")]
    lines = "".join(f"{hashlib.sha256((root / f).read_bytes()).hexdigest()} {f}\n" for f in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
