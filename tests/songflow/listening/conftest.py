"""Fixtures that these tests share with others."""

from support.manifests import manifest

__all__ = ["manifest"]
