"""``python -m hicache_verify``."""

from hicache_verify.cli import main

if __name__ == "__main__":
    main()
