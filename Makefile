# One door for people and for CI. Bare `make` prints this list.
VENV := .venv
BIN := $(VENV)/bin
PATH := $(CURDIR)/$(BIN):$(PATH)
SHELL := /bin/bash
PROTO := lockservice/v1/lockservice.proto
STUBS := clients/python/src/lockservice_client/_stubs
FRESH := build/stubs
IMAGE := build/lockservice.binpb

.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | expand -t 20

$(VENV)/.installed: pyproject.toml clients/python/pyproject.toml clients/flash_sale/pyproject.toml \
  clients/bench/pyproject.toml clients/stand/pyproject.toml
	test -d $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[embedded]' -e clients/python -e clients/flash_sale -e clients/bench -e clients/stand --group dev
	@touch $@

setup: $(VENV)/.installed ## create .venv with the service, its embedded default, the Python client and lockctl

# The proto imports google/rpc/status.proto, which lies in the environment beside the Python code made from it.
PROTOC = $(BIN)/python -m grpc_tools.protoc -Iprotos \
  -I$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

stubs: setup
	rm -rf $(FRESH) && mkdir -p $(FRESH)/$(STUBS)
	$(PROTOC) --python_out=$(FRESH) --grpc_python_out=$(FRESH) --mypy_out=$(FRESH) --mypy_grpc_out=$(FRESH) $(PROTO)
	cp $(FRESH)/lockservice/v1/* $(FRESH)/$(STUBS)/
	sed -i -E 's/from lockservice\.v1 import/from lockservice_client._stubs import/' $(FRESH)/$(STUBS)/*_grpc.py*

generate: stubs ## make the Python code of the proto again, for the service and for the client
	cp -R $(FRESH)/. .

verify-generated: stubs ## fail when the committed Python code is not what the proto gives
	@for folder in lockservice/v1 $(STUBS); do \
	  diff -r -x __init__.py -x __pycache__ $$folder $(FRESH)/$$folder || \
	  { echo "$$folder is not what protos/ gives: run 'make generate' and commit the result"; exit 1; }; \
	done

$(IMAGE): protos/$(PROTO) $(VENV)/.installed
	mkdir -p $(@D)
	$(PROTOC) --include_imports --include_source_info -o $@ $(PROTO)

lint-proto: $(IMAGE) ## check the proto's style, its comments and its format
	$(BIN)/buf lint $(IMAGE) --path lockservice --config protos/buf.yaml
	$(BIN)/buf format protos --diff --exit-code

breaking: $(IMAGE) ## fail when the proto breaks a client of the last release
	$(BIN)/buf breaking $(IMAGE) --against protos/baseline.binpb --path lockservice --config protos/buf.yaml

baseline: breaking ## at a release: make the proto the form that later ones must not break
	$(BIN)/buf build $(IMAGE) --exclude-source-info -o protos/baseline.binpb

.PHONY: help setup stubs generate verify-generated lint-proto breaking baseline

# $(call with,PROGRAM,COMMANDS) runs commands where a program is installed. CI must have it.
with = @if command -v $(1) >/dev/null; then $(2); \
  elif [ "$$CI" = true ]; then echo '$(1) is not installed'; exit 1; else echo 'skipped: $(1) is not installed'; fi

OVERLAYS := dev production production-tls

manifests: setup ## write the PrometheusRule again from the alerts
	$(BIN)/python deploy/rules.py

check-deploy: setup ## check the image's recipe, compose, the manifests, and the alerts with their tests
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/docker-compose -f deploy/compose.yaml config --quiet
	$(BIN)/envoy --mode validate -c deploy/envoy/envoy.yaml --log-level error
	@mkdir -p build
	$(call with,kubectl,for overlay in $(OVERLAYS); do \
	  kubectl kustomize deploy/kustomize/overlays/$$overlay >build/$$overlay.yaml && \
	  $(BIN)/kubernetes-validate --strict --quiet build/$$overlay.yaml || exit 1; done)
	$(call with,promtool,cd deploy/prometheus && promtool check config prometheus.yml && \
	  promtool check rules alerts.yaml && promtool test rules alerts_test.yaml)

# Tools that are built from Go modules. They take minutes, so that CI does without.
check-helm: setup ## check the Helm chart with a helm that is built for it (3 minutes the first time)
	@mkdir -p build/helm
	cd tests/deploy/helm && go build -o $(CURDIR)/build/helm/helm helm.sh/helm/v3/cmd/helm
	$(BIN)/pytest -q -m '' tests/deploy/test_chart.py

CLUSTER := $(CURDIR)/build/cluster
check-cluster: setup ## apply the manifests to a Kubernetes API server that is built for it, hand a shard over (25 minutes the first time)
	@mkdir -p $(CLUSTER)
	cd tests/deploy/cluster && go build -p 2 -o $(CLUSTER)/kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
	cd tests/deploy/cluster/crds && go tool controller-gen crd:allowDangerousTypes=true \
	  paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 output:crd:dir=$(CLUSTER)
	$(BIN)/pip install --quiet --disable-pip-version-check --group cluster
	$(BIN)/pytest -q -m '' tests/deploy/test_cluster.py tests/deploy/test_sentinel_shards.py

.PHONY: manifests check-deploy check-helm check-cluster

demo: setup ## replay a flash sale without and with lockservice, and print both results side by side
	$(BIN)/lockservice demo $(ARGS)

bench: setup ## measure this machine beside lockservice's peers: tables, targets, plots (9 minutes)
	$(BIN)/lockservice bench $(ARGS)

docs: setup ## write the README's tables of settings and metrics again
	$(BIN)/python -c 'from pathlib import Path; from lockservice.cli import show_config; \
	  from lockservice.reference import fill_in; readme = Path("README.md"); \
	  readme.write_text(fill_in(readme.read_text(), show_config))'

screenshots: setup ## draw the README's pictures of the console (3 minutes; needs Chromium)
	PYTHONPATH=tests $(BIN)/python -m console.screenshots

serve: setup ## the service on the embedded default, until Ctrl-C
	$(BIN)/lockservice serve

test: setup ## run the tests of the service, of the sale, and of the clients in every language
	$(BIN)/pytest -q
	$(BIN)/python -m lockservice_stand run

test-faults: setup ## every fault on real processes, longer than `make test` does (about 25 minutes)
	FAULT_SECONDS=$${FAULT_SECONDS:-20} $(BIN)/pytest -q -m '' tests/faults tests/test_checkers.py $(ARGS)

lock-set: setup ## updates lost under a lock whose holders pause, by what the store checks (5 minutes)
	PYTHONPATH=tests $(BIN)/python -m lock_set.run

clients: setup ## build and test the clients; `make clients LANGUAGES="go node"` only these
	$(BIN)/python -m lockservice_stand run $(LANGUAGES)

bench-clients: setup ## the figures of the clients side by side; `make clients` builds them
	$(BIN)/python -m lockservice_stand bench $(LANGUAGES)

bench-tls: setup ## what TLS costs unary calls, in turns with calls in the clear (1 minute)
	$(BIN)/python -m lockservice_stand tls

# What is shipped and nothing else: no tools, no tests.
build/shipped: pyproject.toml clients/python/pyproject.toml
	rm -rf $@ && python3 -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check --upgrade pip
	$@/bin/pip install --quiet --disable-pip-version-check '.[embedded]' ./clients/python

build/supply: pyproject.toml
	rm -rf $@ && python3 -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$@/bin/pip install --quiet --disable-pip-version-check --group supply

audit: build/shipped build/supply ## ask the vulnerability databases that can be reached about all that is shipped
	.ci/audit

sbom: build/shipped build/supply ## write what the service and the clients ship with, as CycloneDX, to build/sbom-*.json
	build/supply/bin/cyclonedx-py environment build/shipped/bin/python -o build/sbom-python.json
	$(call with,npm,cd clients/node && npx --yes @cyclonedx/cyclonedx-npm@4.1.0 --omit dev --output-file ../../build/sbom-node.json)
	$(call with,go,cd clients/go && \
	  go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0 mod -json -output ../../build/sbom-go.json)
	$(call with,mvn,cd clients/java && mvn -q -B -ntp org.cyclonedx:cyclonedx-maven-plugin:2.9.1:makeBom \
	  -DoutputFormat=json -DoutputName=sbom-java -DoutputDirectory=../../build)

test-abuse: setup ## what a tenant feels of the floods of another: p99 with and without, for each kind (4 minutes)
	$(BIN)/pytest -q -m '' -s tests/rpc/test_abuse.py tests/rpc/test_noisy_neighbour.py $(ARGS)

test-rolling: setup ## restart three replicas one by one under 500 calls/s of all clients, which `make clients` builds (1 minute)
	$(BIN)/python -m lockservice_stand roll $(LANGUAGES)

lint: setup ## check style, types and the direction of imports
	@mkdir -p build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports >build/imports.txt || { cat build/imports.txt; exit 1; }

check: verify-generated lint-proto breaking lint check-deploy test ## what CI runs

.PHONY: demo bench docs serve test test-faults lock-set clients bench-clients bench-tls audit sbom test-abuse test-rolling lint check screenshots
