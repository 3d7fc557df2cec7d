"""`python -m retain`, the same as `retain`."""

from retain.cli import main

raise SystemExit(main())
