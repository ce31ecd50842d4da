"""beartype as the type checkers read annotations: an int is welcome where a float is expected."""

from beartype import BeartypeConf, beartype

__all__ = ["check"]

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
