import sys

try:
    from simulator.cli import main
except KeyboardInterrupt:  # before there is anything to go on with
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
