# SPDX-License-Identifier: MIT
#
# The front door. Each command is a few lines; the work is in Meson and tools/.
#
#   make            build into build/
#   make run        set up what is missing, build, boot a guest
#   make test       set up what is missing, build, run every suite
#   make unit       the suites that need no KVM and no root; T=NAME for one test
#   make check      form, layers, compilers, sanitizers
#   make fuzz T=x   libFuzzer until stopped; S=60 for a minute
#   make bench      our numbers beside the peers'; T=lan: two guests on the switch
#   make format     rewrites the sources' form
#   make image      the guests' files, into the cache
#   make new-vsp NAME=x   a new device from the example
#   make clean

all: build/build.ninja
	@ninja -C build

build/build.ninja:
	@meson setup build

run:
	@tools/setup run
	@$(MAKE) --no-print-directory all
	@tools/run-guest

test:
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@tests/run $(T)

unit: all
	@tests/run $(or $(T),unit guest golden corpus)

check:
	@tools/setup test
	@tools/check

fuzz:
	@tools/setup test
	@tools/fuzz $(if $(S),-s $(S)) $(or $(T),--all)

bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory all
	@bench/run $(T)

format:
	@tools/setup test
	@git ls-files '*.c' '*.h' | xargs clang-format -i

image:
	@tools/setup run
	@tools/guest-image

new-vsp:
	@tools/new-vsp $(NAME)

clean:
	rm -rf build build-*

.PHONY: all run test unit check fuzz bench format image new-vsp clean
