"""The package of NIR's own, which is an extra."""

try:
    import nir
except ImportError as error:
    raise ImportError("`eqx_etrace.nir` needs the package `nir`: pip install 'eqx_etrace[nir]'") from error

__all__ = ["nir"]
