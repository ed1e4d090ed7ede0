# make        build bin/init, bin/initrdgen and bin/sidustree, and bin/init-arm64 for arm64 trees
# make demo   see a node boot
# make site   docs/site.md from its first command to two nodes that boot from the network
# make check  linters and unit tests: no root, nothing installed, on any Linux
# make test   linters, unit tests, and the tests that boot
# make soak   the tests with many repetitions and long waits, too
# make storm  what a room of nodes asks of an NFS server: recorded, replayed, drawn
# make deb    Debian packages in bin/deb: for the server, and for inside a tree
# make bench  speed and size beside initramfs-tools, in one table

GO      ?= go
export CGO_ENABLED = 0

# The same source gives the same binary in any folder, for any user.
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -s -w -buildid= -X main.version=$(VERSION)
GOBUILD = $(GO) build -trimpath -buildvcs=false
# Without inlining and with functions closer together /init is 8 % smaller; the boot does not notice
# (make bench).
SMALL   = -gcflags=all=-l -ldflags="$(LDFLAGS) -funcalign=1"
# bin/init is for this machine. What the trees of other machines need lies beside it:
# initrdgen takes the one that fits.
GOARCH  := $(shell $(GO) env GOARCH)
OTHERS  = $(filter-out $(GOARCH),amd64 arm64)
LINT    = $(GO) tool -modfile=tools/go.mod

.PHONY: build others deb check test unit lint linters qemu-test soak bench storm demo site fuzz prerequisites clean help

build:
	@mkdir -p bin
	$(GOBUILD) $(SMALL) -o bin/init ./init
	for arch in $(OTHERS); do GOARCH=$$arch $(GOBUILD) $(SMALL) -o bin/init-$$arch ./init || exit 1; done
	$(GOBUILD) -ldflags="$(LDFLAGS)" -o bin/initrdgen ./initrdgen
	$(GOBUILD) -ldflags="$(LDFLAGS)" -o bin/sidustree ./sidustree

# All programs for the other machines, in bin/ARCH. make build comes first.
others:
	for arch in $(OTHERS); do \
		mkdir -p bin/$$arch && cp bin/init bin/$$arch/init-$(GOARCH) && cp bin/init-$$arch bin/$$arch/init && \
		GOARCH=$$arch $(GOBUILD) -ldflags="$(LDFLAGS)" -o bin/$$arch ./initrdgen ./sidustree || exit 1; \
	done

# The times in the packages are that of the commit: the same source gives the same packages.
# MAINTAINER="Name <address>" is who answers for them.
deb: export MAINTAINER := $(MAINTAINER)
deb: build
	$(MAKE) others
	$(GO) run ./packaging --version '$(VERSION)' --arch "$$(echo $(GOARCH) $(OTHERS) | tr ' ' ,)" --maintainer "$$MAINTAINER" \
		--commit-time "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}"

test: lint unit qemu-test

check: linters unit

unit:
	$(GO) test -parallel 16 ./...

lint: prerequisites linters
	shellcheck $$(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh')

linters:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'lint: run gofmt -w on these files'; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags qemu ./qemu-tests/...
	$(LINT) staticcheck -tags qemu ./...
	$(LINT) go-errorlint -test=false ./...
	$(LINT) ineffassign ./...
	$(LINT) misspell -error -i exportfs,rela $$(git ls-files '*.go' '*.md')

# In its folder, so that go test shows what each test took at once.
qemu-test: build prerequisites
	cd qemu-tests && $(GO) test -tags qemu -count=1 -parallel 8 -timeout 80m

soak: build prerequisites
	cd qemu-tests && SIDUSBOOT_SOAK=1 $(GO) test -tags qemu -count=1 -parallel 8 -timeout 240m

bench: build prerequisites
	$(GO) run ./qemu-tests/bench

# The figures go to docs/, the drawing is made by a module of its own.
storm: build prerequisites
	$(GO) run ./qemu-tests/storm --output docs/storm.json
	cd tools/plot && $(GO) run . ../../docs/storm.json ../../docs/storm.svg

demo: build prerequisites
	$(GO) run ./qemu-tests/demo

site: build prerequisites
	$(GO) run ./qemu-tests/site

# Each fuzz target for a while; the seeds run with the unit tests anyway.
fuzz:
	sh tools/fuzz 30s

prerequisites:
	@sh tools/prerequisites

clean:
	rm -rf bin

help:
	@sed -n 's/^# make/make/p' Makefile
