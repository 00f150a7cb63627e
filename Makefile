# Everything that is typed for this project. `make` alone prints the targets.
# GOFLAGS, GOPROXY and the other variables of the go command are taken from the environment as they are.

SHELL   := /bin/bash
ARCH    := $(shell go env GOARCH)
RELEASE := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATIC  := CGO_ENABLED=0
STRIP   := -trimpath -ldflags '-s -w'
OUT     := .cache/build
# How long each fuzz target runs, what the benchmarks repeat, how many restores the soak makes, and how long the day is.
FUZZTIME ?= 20s
BENCHFLAGS ?=
RESTORES ?= 1000
DAY ?= 20m
# Which lane runs; empty: all.
LANE ?=
# Which event source is shown, and which there are.
SOURCE ?=
SOURCES := activemq documentdb dynamodb kafka kinesis msk rabbitmq sqs

.DEFAULT_GOAL := help
.PHONY: help build demo demo-sources test lanes bench soak day lint fuzz arm64 run clean need-demo need-source need-sources need-test need-lanes

help: ## print the targets
	@echo "make TARGET, with TARGET one of"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/thaw: one file that carries the guest and the sandbox helper
	@$(MAKE) --no-print-directory bin/thaw GOARCH=$(ARCH)

# programs ARCH: the executables that thaw carries, packed where go:embed finds them.
define programs
	mkdir -p $(OUT)/$(1)
	$(STATIC) GOARCH=$(1) go build $(STRIP) -o $(OUT)/$(1)/thaw-guest ./cmd/thaw-guest
	$(STATIC) GOARCH=$(1) go build $(STRIP) -o $(OUT)/$(1)/thaw-sandbox ./cmd/thaw-sandbox
	$(STATIC) GOARCH=$(1) go build $(STRIP) -o $(OUT)/$(1)/thaw-cache ./cmd/thaw-cache
	GOARCH= go run ./node/embedded/pack $(OUT)/$(1)/thaw-guest node/embedded/files/$(1)/thaw-guest.zst
	GOARCH= go run ./node/embedded/pack $(OUT)/$(1)/thaw-sandbox node/embedded/files/$(1)/thaw-sandbox.zst
	GOARCH= go run ./node/embedded/pack $(OUT)/$(1)/thaw-cache node/embedded/files/$(1)/thaw-cache.zst
endef

.PHONY: bin/thaw
bin/thaw:
	$(call programs,$(ARCH))
	$(STATIC) GOARCH=$(ARCH) go build -trimpath -ldflags '-s -w -X thaw/node.Version=$(RELEASE)' -o bin/thaw ./cmd/thaw

demo: need-demo build ## set up what is missing, build, start a server and show functions running
	bin/thaw demo

demo-sources: need-source need-sources build ## an event source at work, with its server: SOURCE=activemq, documentdb, dynamodb, kafka, kinesis, msk, rabbitmq or sqs
	@$(STATIC) go build -o $(OUT)/thaw-sources ./samples/sources
	@$(OUT)/thaw-sources -thaw bin/thaw $(SOURCE)

test: need-test need-lanes build ## all tests, with the race detector where it pays
	@scripts/test

lanes: need-lanes build ## all tests of machines, and in machines that are emulated where this host lacks what they need (LANE=nested runs one lane); make test has the heart of them
	$(STATIC) go build -trimpath -o $(OUT)/thaw-lanes ./internal/outer/lanes
	@$(OUT)/thaw-lanes -whole $(LANE)

bench: need-demo need-sources build ## the tables of speed and memory
	$(STATIC) go build -trimpath -o $(OUT)/thaw-bench ./bench
	$(OUT)/thaw-bench --thaw bin/thaw $(BENCHFLAGS)
	$(STATIC) THAW_TEST_FUNCTIONS=1000 go test ./node -run 'TestManyFunctions' -count=1 -v | grep 'functions with'

soak: need-demo build ## kills of all parts under load, and 1,000 restores (RESTORES=10000) beside environments that lie idle: what is left?
	$(STATIC) THAW_TEST_KILLS=20 go test ./node -run 'TestKills' -count=1 -v -timeout 60m
	$(STATIC) go build -trimpath -o $(OUT)/thaw-bench ./bench
	$(OUT)/thaw-bench --thaw bin/thaw --sandboxes gvisor --only soak --restores $(RESTORES) $(BENCHFLAGS)
	$(STATIC) THAW_TEST_SOURCES=all go test -trimpath ./samples/sources -count=1 -v

day: build ## 24 functions of all kinds, a queue and a topic under a day's traffic in 20 minutes (DAY=3m): every answer is checked
	$(STATIC) go build -trimpath -o $(OUT)/thaw-bench ./bench
	$(OUT)/thaw-bench --thaw bin/thaw --sandboxes best --only day --day $(DAY) $(BENCHFLAGS)

lint: ## gofmt, go vet, staticcheck
	@scripts/lint

fuzz: ## every fuzz target for FUZZTIME (20s)
	@scripts/fuzz $(FUZZTIME)

arm64: ## build everything for arm64: bin/thaw-arm64
	$(STATIC) GOARCH=arm64 go build -trimpath ./...
	$(call programs,arm64)
	$(STATIC) GOARCH=arm64 go build -trimpath -ldflags '-s -w -X thaw/node.Version=$(RELEASE)' -o bin/thaw-arm64 ./cmd/thaw

run: build ## a server with the best sandbox of this machine, data in ./thaw-data
	bin/thaw server --data-dir thaw-data

need-demo:
	@scripts/need node python3 java

# Said at once, not after a build.
need-source:
	@[ -n "$(filter $(SOURCES),$(SOURCE))" ] || { echo "make: say which source is shown: make demo-sources SOURCE=NAME, with NAME one of $(SOURCES)" >&2; exit 2; }

# The servers come from Maven and PyPI.
need-sources:
	@scripts/need node python3 javac mvn

need-test:
	@scripts/need gcc node python3 javac

need-lanes:
	@scripts/need node qemu-system-x86_64 busybox mkfs.erofs mkfs.ext4 linux-image-cloud-amd64

clean: ## remove what was built
	rm -rf bin $(OUT) node/embedded/files/*/*.zst
