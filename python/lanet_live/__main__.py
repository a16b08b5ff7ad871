"""The program `lanet-live`."""

import sys


def main():
    import lanet_live  # noqa: F401, it prepares the environment
    from lanet_live import _native

    sys.exit(_native.main(["lanet-live", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
