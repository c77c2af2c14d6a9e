"""The migration document: what was agreed, read strictly, hashed canonically."""

from llmmigrate.document.canonical import content_hash
from llmmigrate.document.loader import Document, load_file, load_folder, load_text
from llmmigrate.document.model import Endpoint, Migration, Rule

__all__ = ["Document", "Endpoint", "Migration", "Rule", "content_hash", "load_file", "load_folder", "load_text"]
