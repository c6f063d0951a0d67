# The front door. Each target first sees to the packages it needs (tools/need.sh); the work is done
# by CMake and by the scripts named below.

BUILD ?= build
JOBS ?= $(shell nproc)
MINUTES ?= 20
FILE ?=
ONLY ?=
SEED ?=
SECONDS ?= 60
TARGET ?=
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all build demo check coverage matrix bench soak fuzz install uninstall install-built \
	uninstall-built dist deb clean help
.NOTPARALLEL:

all: build

build:
	@tools/need.sh build
	@tools/build.sh $(BUILD)

demo:
	@tools/need.sh build
	@tools/build.sh $(BUILD)
	@TRAM_BUILD=$(BUILD) demo/demo.sh $(FILE)

check:
	@tools/need.sh build check
	@tools/check.sh

matrix:
	@tools/need.sh build check matrix
	@ONLY="$(ONLY)" tests/matrix.sh

coverage:
	@tools/need.sh build check coverage
	@tools/coverage.sh

fuzz:
	@tools/need.sh build matrix
	@SECONDS_EACH="$(SECONDS)" TARGET="$(TARGET)" tools/fuzz.sh

bench:
	@tools/need.sh build bench
	@tools/build.sh $(BUILD) -DTRAM_BENCH=ON
	@TRAM_BUILD=$(BUILD) python3 bench/run.py

soak:
	@tools/need.sh build check
	@tools/build.sh $(BUILD)
	@TRAM_BUILD=$(BUILD) MINUTES="$(MINUTES)" SEED="$(SEED)" tests/soak.sh

install uninstall:
	@tools/need.sh build
	@tools/build.sh $(BUILD)
	@$(MAKE) --no-print-directory -s $@-built

# Of what is built, without a look whether it is up to date.
install-built:
	@DESTDIR="$(DESTDIR)" tools/install.sh "$(BUILD)" "$(PREFIX)"

uninstall-built:
	@DESTDIR="$(DESTDIR)" tools/install.sh --uninstall "$(BUILD)" "$(PREFIX)"

dist:
	@tools/dist.sh build-dist

deb:
	@tools/need.sh build deb
	@tools/deb.sh build-deb

# Also what a test left on tmpfs that was itself killed.
clean:
	rm -rf build build-*/
	find /dev/shm -maxdepth 1 -user "$$(id -un)" -name 'tram-test-*' -exec rm -rf {} +

help:
	@echo 'make                        programs in build/bin, libraries in build/lib'
	@echo 'make demo [FILE=…]          send a file while both ends are killed dozens of times; then a'
	@echo '                            game cluster while its servers are; then files between three hosts'
	@echo '                            while cables are pulled'
	@echo 'make check                  all tests, as they are and with ASan and UBSan'
	@echo 'make coverage               lines and branches of the library that the tests run'
	@echo 'make matrix [ONLY=musl]     clang, tsan, O0, musl, arm64, dist, deb'
	@echo 'make bench                  the figures, beside other buses in the same run'
	@echo 'make fuzz [SECONDS=60] [TARGET=segment]   libFuzzer, each target so long'
	@echo 'make soak [MINUTES=20] [SEED=…]   the kill storm, long'
	@echo 'make install [PREFIX=/usr/local] [DESTDIR=…]   and make uninstall'
	@echo 'make dist                   the source tarball, in build-dist/'
	@echo 'make deb                    Debian packages, in build-deb/'
	@echo 'make clean                  remove all that was built'
